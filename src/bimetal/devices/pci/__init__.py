"""PCI Express: host bridge, bridges, and what every function of a device has."""
