"""The steps of a run that touch the machine. `run.py` calls them in their order."""
