"""Images of other programs, which are only read: VDI, VHD (which QEMU calls vpc), VHDX, VMDK."""
