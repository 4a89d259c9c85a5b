"""The machine that the agent runs on: its files, programs, accounts, daemons and journal."""
