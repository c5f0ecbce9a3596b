#!/bin/busybox sh
# The first process of a foreign bed: its root and the work tree read-only by 9p, one command, off.
export PATH=/bin
busybox=/bin/busybox
$busybox mount -t proc proc /proc
$busybox mount -t sysfs sys /sys
$busybox mount -t devtmpfs dev /dev
$busybox --install -s /bin
exec </dev/console >/dev/console 2>&1
for module in virtio_pci 9pnet_virtio 9p kvm; do modprobe -q "$module"; done

options=trans=virtio,version=9p2000.L,msize=512000
mount -t 9p -o "$options,ro,cache=loose" root /mnt || { echo "bed: no root"; poweroff -f; }
mount -t proc proc /mnt/proc
mkdir -p /dev/pts /dev/shm
mount --bind /dev /mnt/dev
mount -t tmpfs scratch /mnt/tmp
mkdir /mnt/tmp/bed /mnt/tmp/tree
mount -t 9p -o "$options" bed /mnt/tmp/bed
mount -t 9p -o "$options,ro,cache=loose" tree /mnt/tmp/tree

chroot /mnt /bin/busybox sh /tmp/bed/command >/mnt/tmp/bed/output 2>&1
echo $? >/mnt/tmp/bed/status
sync
poweroff -f
