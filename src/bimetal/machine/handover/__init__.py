"""Machines that change from one of our accelerators to KVM, or back: what the board models in one
case, and the kernel in the other."""
