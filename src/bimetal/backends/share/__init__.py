"""Folders of the host that guests use as file systems, by the protocol 9P2000.L."""
