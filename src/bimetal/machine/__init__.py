"""The machine: puts CPUs and devices together, and runs them."""
