"""USB: devices, and the host controller that they are plugged into."""
