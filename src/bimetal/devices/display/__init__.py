"""Display devices that are not virtio's."""
