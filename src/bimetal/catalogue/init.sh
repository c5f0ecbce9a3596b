#!/bin/busybox sh
# The first process of a catalogue guest.
#   bmrun="COMMANDS"                    on the kernel's command line: run them by the shell
#   ... -- COMMAND ARGUMENT...          the words after a lone -- : run them as one command
#   bmroot=DEVICE                       go on with /sbin/init of the file system on that disk
#   none of these                       an interactive shell on the console
#   bmend=poweroff|reboot|halt|shell    what comes after that (poweroff)
export PATH=/bin:/sbin HOME=/root TERM="${TERM:-vt100}" PS1='\w # '
busybox=/bin/busybox
$busybox mount -t proc proc /proc
$busybox mount -t sysfs sysfs /sys
$busybox mount -t devtmpfs devtmpfs /dev 2>/dev/null
[ -c /dev/console ] && exec </dev/console >/dev/console 2>&1
read -r up _ </proc/uptime
echo "BIMETAL-GUEST-UP $($busybox uname -m) $($busybox uname -r) up=$up"

$busybox --install -s /bin
modprobe -q virtio_mmio
for device in /sys/bus/virtio/devices/*/modalias; do
    [ -r "$device" ] && modprobe -q "$(cat "$device")"
done

if [ -n "$bmroot" ] && modprobe ext4 && mount "$bmroot" /mnt; then
    for place in proc sys dev; do mount --move "/$place" "/mnt/$place"; done
    exec switch_root -c /dev/console /mnt /sbin/init
fi
if [ -n "$bmrun" ]; then
    sh -c "$bmrun"
    echo "BIMETAL-GUEST-RC=$?"
fi
if [ -n "$1" ]; then
    "$@"
    echo "BIMETAL-GUEST-RC=$?"
fi
if [ -z "$bmrun$1" ] || [ "$bmend" = shell ]; then
    cd /root || cd /
    setsid -c sh -i
fi
echo BIMETAL-GUEST-DONE
case "$bmend" in
    reboot) reboot -f ;;
    halt) halt -f ;;
    *) poweroff -f ;;
esac
while :; do sleep 1000; done
