"""What the machine tells its firmware."""
