"""What display devices and those who show their pictures know of each other."""
