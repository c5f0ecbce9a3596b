"""Files that hold the state of a machine."""
