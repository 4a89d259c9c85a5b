"""rolecall: a node bootstrap agent. `run.py` is the first file to read."""
