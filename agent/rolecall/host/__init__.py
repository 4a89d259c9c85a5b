"""The machine: everything that changes the node is in this folder, and nothing here decides anything."""
