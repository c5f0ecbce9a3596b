"""Images in the format qcow2, versions 2 and 3: sparse, compressed, on top of each other.

After the public specification of the format ("The qcow2 image format", docs/interop/qcow2.rst in
the sources of QEMU). A disk is cut into *clusters*; a table of two levels (L1, L2) says where in
the file each one is, and a second one (reference table, reference blocks) counts how often each
cluster of the file is used.

What is not here is refused by name: encryption, external data files, extended L2 entries, zstd;
and for writing: reference counts of other widths than 16 bits, images that were not closed well.
"""
