"""Images in the format qcow2, versions 2 and 3: sparse, compressed, on top of each other.

After the public specification of the format ("The qcow2 image format", docs/interop/qcow2.rst in
the sources of QEMU). A disk is cut into *clusters*; a table of two levels (L1, L2) says where in
the file each one is, and a second one (reference table, reference blocks) counts how often each
cluster of the file is used.

What is not here is refused by name: encryption, and features that came later.

From the outside in: `image` is the disk, `reader` how it is read and `writer` how it is written;
`tables` (L1 and L2) and `references` (free clusters) say where it lies in the file, or in another
one (`places`); `counts` are the reference counts as the file has them. `recovery` is what happens
before an image is written, `survey` how it is told whether it may be.
"""
