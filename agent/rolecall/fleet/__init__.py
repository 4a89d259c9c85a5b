"""The fleet document: its schema, what has to agree in it, and what it asks of one server. Pure."""
