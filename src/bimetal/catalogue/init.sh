#!/bin/busybox sh
# The first process of a catalogue guest. Words on the kernel's command line:
#   bmrun="COMMANDS"                    run them by the shell
#   ... -- COMMAND ARGUMENT...          the words after a lone -- : run them as one command
#   bmroot=DEVICE                       go on with /sbin/init of the file system on that disk
#   bmroot=9p:TAG                       the same, of the shared folder of that tag
#   none of these                       an interactive shell on the console
#   bmend=poweroff|reboot|halt|shell    what comes after that (poweroff)
#   bmsize=COLUMNSxROWS, bmsize=ask     the size of the terminal (80x24); let the shell ask it
#   bmsize=COLUMNSxROWS,hvc0            that size, and then whatever the virtio console tells
#   bminput=pipe                        nobody sees what is typed: no echo, no editing of lines
#   TERM=NAME                           its kind (vt100)
# The exit code of the last command, or of the shell, is that of the machine.
export PATH=/bin:/sbin HOME=/root TERM="${TERM:-vt100}" PS1='\w # '

# Give an address to each network card whose cable leads somewhere.
network() {
    exec >/dev/null 2>&1
    cards=$(grep -ls 0x0001 /sys/bus/virtio/devices/*/device) || return
    ip link set lo up
    for card in $cards; do modprobe "$(cat "${card%device}modalias")"; done
    for card in $cards; do
        for interface in "${card%device}net"/*; do
            interface=${interface##*/}
            ip link set "$interface" up
            if [ "$(cat "/sys/class/net/$interface/carrier")" = 1 ]; then
                udhcpc -q -n -t 3 -T 1 -A 1 -i "$interface" -s /sbin/dhcp &
            fi
        done
    done
    wait
}

# What there is to do, beside process 1: the exit code goes to descriptor 9.
commands() {
    code=0
    network 9>&- &
    if [ -n "$bmrun$1" ] || [ "$bminput" = pipe ]; then
        wait $! # what they do may need it; a person would not notice that it takes a moment
    fi
    if [ -n "$bmrun" ]; then
        sh -c "$bmrun" 9>&-
        code=$?
        echo "BIMETAL-GUEST-RC=$code"
    fi
    if [ -n "$1" ]; then
        "$@" 9>&-
        code=$?
        echo "BIMETAL-GUEST-RC=$code"
    fi
    if [ -z "$bmrun$1" ] || [ "$bmend" = shell ]; then
        cd /root || cd /
        setsid -c sh -i 9>&-
        code=$?
    fi
    echo "$code" >&9
}
if [ $$ != 1 ]; then
    commands "$@"
    exit
fi

busybox=/bin/busybox
$busybox mount -t proc proc /proc
$busybox mount -t sysfs sysfs /sys
$busybox mount -t devtmpfs devtmpfs /dev 2>/dev/null
[ -c /dev/console ] && exec </dev/console >/dev/console 2>&1
size="${bmsize%,hvc0}"
case "$size" in
    *x*) $busybox stty cols "${size%x*}" rows "${size#*x}" ;;
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
    read -r kind <"${device%modalias}device" || continue
    # Drivers of network cards are loaded beside the commands, to delay no prompt.
    [ "$kind" = 0x0001 ] && [ -z "$bmroot" ] && continue
    modprobe -q "$(cat "$device")"
done
# What is plugged in on USB is found while others go on.
if grep -qs 0x0c0330 /sys/bus/pci/devices/*/class; then
    for module in xhci_pci usbhid hid_generic usb_storage; do modprobe -q $module; done
fi

mount_root() {
    case "$1" in
        # Nobody else changes a root, so what was found in it stays true: without that, systemd's
        # looks at its configuration alone are thousands of requests, every few seconds.
        9p:*)
            modprobe 9p
            mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose "${1#9p:}" /mnt
            ;;
        *) modprobe ext4 && mount "$1" /mnt ;;
    esac
}
if [ -n "$bmroot" ] && mount_root "$bmroot"; then
    for place in proc sys dev; do mount --move "/$place" "/mnt/$place"; done
    exec switch_root -c /dev/console /mnt /sbin/init
fi

# A console that is there for its size only. The kernel signals a change to whom that terminal is;
# the console passes it on to whom it is.
follow='
    pass_on() {
        set -- $(stty size)
        [ "$1" -gt 0 ] && [ "$2" -gt 0 ] && stty -F /dev/console rows "$1" cols "$2"
    }
    trap pass_on WINCH
    pass_on
    while :; do read -r nothing || sleep 1; done
'
if [ "$size" != "$bmsize" ] && [ -c /dev/hvc0 ]; then
    setsid -c sh -c "$follow" </dev/hvc0 >/dev/hvc0 2>&1 &
fi

# Where the test finisher is, the one register by which a machine ends with an exit code. A device
# tree's device has its address in its name, one of ACPI's is in the list of all addresses.
finisher() {
    for device in /sys/bus/platform/devices/*; do
        grep -qs Csifive,test "$device/modalias" || continue
        name=${device##*/}
        case $name in
            *.test) echo "0x${name%.test}" ;;
            *) sed -n "s/^ *\([0-9a-f]*\)-.* : $name$/0x\1/p" /proc/iomem ;;
        esac
    done
}

# End the machine with an exit code: finish with 0x3333 to switch off, 0x7777 to reset.
finish() {
    address=$(finisher)
    if [ -z "$address" ]; then
        echo "this board has no test finisher: exit code $2 is lost"
        return
    fi
    sync
    devmem "$address" 32 $(($2 << 16 | $1))
}

# What asks process 1 for the end: busybox's halt, poweroff and reboot without -f.
trap 'halt -f' USR1
trap 'poweroff -f' USR2
trap 'reboot -f' TERM

# A shell's traps wait for what runs in its foreground, so the commands run beside it: the second
# setsid leads a session already, so it forks. Their exit code, or their end without one, comes by
# a pipe that they alone hold open; nothing wakes this process in between but children to bury.
mkfifo /end
cat /end >/code &
setsid setsid "$0" "$@" 9>/end
wait $!
read -r code </code || code=137
echo BIMETAL-GUEST-DONE
case "$bmend" in
    reboot) [ "$code" = 0 ] || finish 0x7777 "$code"; reboot -f ;;
    halt) halt -f ;;
    *) [ "$code" = 0 ] || finish 0x3333 "$code"; poweroff -f ;;
esac
while :; do sleep 1000; done
