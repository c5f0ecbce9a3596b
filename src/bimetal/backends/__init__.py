"""Back ends: where the bytes of a device come from and go to on the host."""
