"""The host's side of a guest's sockets: Unix sockets of the host."""
