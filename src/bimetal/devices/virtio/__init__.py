"""Virtio devices (OASIS virtio 1.2): rings in guest memory instead of registers."""
