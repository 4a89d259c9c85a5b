"""Whether a document may be believed, and which one this node goes by."""
