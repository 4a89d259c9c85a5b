"""Self-tests as they are run: each kind asks the real thing."""
