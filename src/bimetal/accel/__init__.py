"""Accelerators: what runs CPUs. Each is a `Cpu` and an `Accelerator` of `bimetal.seam`."""
