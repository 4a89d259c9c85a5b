"""A role and an assignment become a generation. Pure."""
