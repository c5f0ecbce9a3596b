"""What runs guest code: each accelerator is a `Cpu` factory of the seam. `choose` picks one."""
