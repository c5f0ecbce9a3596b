# Creates processes for ever, in each way a shell has, and says now and then how many there were.
round=0
while :; do
    round=$((round + 1))
    i=0
    while [ $i -lt 50 ]; do
        i=$((i + 1))
        /bin/busybox true
        (exit $((i % 2)))
        word=$(echo "$round $i" | /bin/busybox cat)
        echo "$word" | /bin/busybox sed 's/ /,/' | /bin/busybox grep -c , >/tmp/count
        /bin/busybox sleep 0 &
        wait
    done
    rm /tmp/count
    while read -r name count; do
        [ "$name" = processes ] && echo "BENCH processes=$count"
    done </proc/stat
done
