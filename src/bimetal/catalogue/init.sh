#!/bin/busybox sh
# The first process of a catalogue guest. Words on the kernel's command line:
#   bmrun="COMMANDS"                    run them by the shell
#   ... -- COMMAND ARGUMENT...          the words after a lone -- : run them as one command
#   bmroot=DEVICE                       go on with /sbin/init of the file system on that disk
#   none of these                       an interactive shell on the console
#   bmend=poweroff|reboot|halt|shell    what comes after that (poweroff)
#   bmsize=COLUMNSxROWS, bmsize=ask     the size of the terminal (80x24); let the shell ask it
#   bminput=pipe                        nobody sees what is typed: no echo, no editing of lines
#   TERM=NAME                           its kind (vt100)
# The exit code of the last command, or of the shell, is that of the machine.
export PATH=/bin:/sbin HOME=/root TERM="${TERM:-vt100}" PS1='\w # '
busybox=/bin/busybox
$busybox mount -t proc proc /proc
$busybox mount -t sysfs sysfs /sys
$busybox mount -t devtmpfs devtmpfs /dev 2>/dev/null
[ -c /dev/console ] && exec </dev/console >/dev/console 2>&1
case "$bmsize" in
    *x*) $busybox stty cols "${bmsize%x*}" rows "${bmsize#*x}" ;;
    ask) ;;
    *) $busybox stty cols 80 rows 24 ;;
esac
if [ "$bminput" = pipe ] && [ -z "$bmroot" ]; then
    # Output is not for a terminal's eyes, and input that nobody reads yet waits outside.
    $busybox stty -echo -onlcr crtscts
fi
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

# Tell the board the exit code: the finisher of a device tree's board ends the machine with it, the
# port beside the power registers of an ACPI one keeps it for the end.
report() {
    if [ -e /sys/firmware/devicetree/base/soc/test@100000 ]; then
        sync
        devmem 0x100000 32 $(($1 << 16 | 0x3333))
    elif grep -q BIMTAL /sys/firmware/acpi/tables/FACP 2>/dev/null; then
        printf "\\$(printf %o "$1")" | dd of=/dev/port bs=1 seek=$((0x603)) conv=notrunc 2>/dev/null
    fi
}

code=0
if [ -n "$bmrun" ]; then
    sh -c "$bmrun"
    code=$?
    echo "BIMETAL-GUEST-RC=$code"
fi
if [ -n "$1" ]; then
    "$@"
    code=$?
    echo "BIMETAL-GUEST-RC=$code"
fi
if [ -z "$bmrun$1" ] || [ "$bmend" = shell ]; then
    cd /root || cd /
    setsid -c sh -i
    code=$?
fi
echo BIMETAL-GUEST-DONE
case "$bmend" in
    reboot) reboot -f ;;
    halt) halt -f ;;
esac
[ "$code" = 0 ] || report "$code"
poweroff -f
while :; do sleep 1000; done
