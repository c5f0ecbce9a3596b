"""Programs that take QEMU's command line and speak its QMP: what libvirt calls an emulator.

A command line becomes words (`grammar`), each option is a small function in the file of its family
(`options` says which), and together they make an `Order`: what `Machine` is given, and what the
process does besides. Nothing of a machine is imported before an option needs it, so that a client
which only asks what there is has its answer soon.
"""
