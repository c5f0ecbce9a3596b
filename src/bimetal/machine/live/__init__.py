"""What is done to the disks of a machine while it runs: they are laid over, copied, joined."""
