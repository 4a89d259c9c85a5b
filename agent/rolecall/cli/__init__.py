"""The command line: the parser, a function for each command, and what a person sees of its answer."""
