"""The host's own silicon through Linux's KVM, from Python alone: ioctl, mmap, eventfd.

Reading order: `device` (opening it), `vm` and `vcpu` (what all architectures share), `x86` and the
files beside it, `abi` for the numbers. `kernel` is the only door to the host.
"""
