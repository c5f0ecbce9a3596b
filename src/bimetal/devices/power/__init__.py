"""What ends or resets a machine."""
