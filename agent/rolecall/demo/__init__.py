"""`rolecall demo`: the whole story on this machine, in one scratch folder, with real daemons and without AWS."""
