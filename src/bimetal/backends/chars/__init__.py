"""Character back ends: the far end of a serial line or a console."""
