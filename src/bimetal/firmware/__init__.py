"""What runs before the kernel, or in its place: device trees, loaders, firmware interfaces."""
