"""libvirt's domain XML, in which definitions of machines are written (libvirt.org/formatdomain)."""
