"""The guest-physical address space: host memory, regions, and access to them by devices."""
