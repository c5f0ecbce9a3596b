#!/bin/busybox sh
# What udhcpc tells of an interface: its address, the way out and who knows names.
case "$1" in
    bound | renew)
        ip addr replace "$ip/${mask:-24}" dev "$interface"
        [ -n "$router" ] && ip route replace default via "${router%% *}" dev "$interface"
        [ -n "$hostname" ] && hostname "$hostname"
        {
            [ -n "$domain" ] && echo "search $domain"
            for server in $dns; do echo "nameserver $server"; done
        } >/etc/resolv.conf
        ;;
esac
