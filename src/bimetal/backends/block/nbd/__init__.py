"""NBD, disks over a connection: a disk that another program serves, and an image that we serve.

Source: the network block device protocol, https://github.com/NetworkBlockDevice/nbd, doc/proto.md;
its sections are said as "proto.md, Simple reply".
"""
