"""How values are read, placed and written, whatever they mean. Pure."""
