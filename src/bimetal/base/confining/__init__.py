"""What a process gives up for good, so that a guest that has broken out of its machine finds little
to take: files that it was not given (`landlock`), calls of the kernel that it has no use for
(`system_calls`), and the rights of root (`privileges`). All of it is inherited by children, and by
threads that are started later."""
