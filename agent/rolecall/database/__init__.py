"""A database server: what it is, what the document asks of it, and the statements that take it there."""
