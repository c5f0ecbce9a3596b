# Files from the host and to the host over TCP: network.sh PORT, of a server at the host's loopback
# interface. Two equal laps of each.

host=http://10.0.2.2:$1

now() { # hundredths of a second since the guest's start
    read -r up _ </proc/uptime
    now=$((${up%.*} * 100 + 1${up#*.} - 100))
}

timed() { # NAME LAP COMMAND...: the result is a number of bytes
    name=$1 lap=$2
    shift 2
    now
    begin=$now
    result=$("$@")
    now
    echo "BENCH $name lap=$lap result=$result ticks=$(((now - begin) * 100000))"
}

down() {
    wget -q -O /got "$host/" && wc -c </got
}

up() {
    wget -q -O - --post-file=/got "$host/"
}

ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0 2>/dev/null
for lap in 0 1; do
    timed down $lap down
    timed up $lap up
done
