"""The machine: what holds CPUs and devices together, and runs them."""
