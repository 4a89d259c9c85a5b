"""This machine opened: its settings, its stores, and its state on disk as types."""
