"""Servers that the tests talk to: they keep the rules of the real ones, and break on demand."""
