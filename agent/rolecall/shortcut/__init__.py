"""The refresh that finds nothing to do: what it compares, and the one request that it makes."""
