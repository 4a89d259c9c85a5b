"""How values are read, located and written, whatever they mean. Pure."""
