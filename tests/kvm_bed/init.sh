#!/bin/busybox sh
# The first process of the bed's outer machine: the host's files read-only below, one command, off.
export PATH=/bin
busybox=/bin/busybox
$busybox mount -t proc proc /proc
$busybox mount -t sysfs sys /sys
$busybox mount -t devtmpfs dev /dev
$busybox --install -s /bin
exec </dev/console >/dev/console 2>&1
for module in virtio_pci 9pnet_virtio 9p kvm_amd; do modprobe "$module"; done

options=trans=virtio,version=9p2000.L,msize=512000
mount -t 9p -o "$options,ro,cache=loose" host /mnt || { echo "bed: no host files"; poweroff -f; }
mount -t proc proc /mnt/proc
mount --bind /sys /mnt/sys
mkdir -p /dev/pts /dev/shm
mount --bind /dev /mnt/dev
mount -t devpts -o ptmxmode=666 devpts /mnt/dev/pts
# The tree may lie below /tmp: scratch is elsewhere.
for scratch in run var/tmp; do mount -t tmpfs scratch "/mnt/$scratch"; done
mkdir /mnt/run/bed /mnt/run/tmp
mount -t 9p -o "$options" bed /mnt/run/bed

chroot /mnt /usr/bin/env -i /bin/sh /run/bed/command >/mnt/run/bed/output 2>&1
echo $? >/mnt/run/bed/status
sync
poweroff -f
