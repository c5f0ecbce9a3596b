"""A network of its own for a machine, out of ordinary sockets: no root, no device, no set-up."""
