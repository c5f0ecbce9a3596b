"""Accelerators, which run CPUs. Each implements `Cpu` and `Accelerator` of `bimetal.seam`."""
