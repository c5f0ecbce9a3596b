"""A VNC server: the remote framebuffer protocol (RFC 6143) and what its community has added."""
