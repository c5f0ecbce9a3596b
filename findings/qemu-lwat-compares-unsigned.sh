#!/bin/sh
# QEMU 7.2: PowerPC's LWAT with a signed maximum or minimum compares words without their signs.
#
# LWAT with function code 5 is "fetch and maximum signed", with 7 "fetch and minimum signed" (Power
# ISA 3.1B, book II, 4.5.2). QEMU's user emulation extends the word in memory with zeros and compares
# 64 bits, so that each negative number is larger than any positive one. LDAT beside it is right.
#
# The program has -1 in memory, does a signed maximum with 1, and ends with the low byte of what is
# there then: 1 on a processor. Seen with Debian's qemu-user-static 1:7.2+dfsg-7+deb12u18+b3:
#
#   lwat: 255
#   ldat: 1
#
# Ends with 0 as long as it is so. Needs qemu-ppc64-static of 7.2, or fetches its package.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
bin=$folder/usr/bin
if qemu-ppc64-static --version 2>/dev/null | grep -q 'version 7\.2'; then
    bin=$(dirname "$(command -v qemu-ppc64-static)")
else
    apt-get -q download qemu-user-static=1:7.2+dfsg-7+deb12u18+b3
    dpkg -x ./*.deb .
fi
ended() {
    python3 - "$1" "$2" <<'END'
import struct
import sys

words = [
    0x3FE01001,  # lis r31, 0x1001
    0x3BFF0100,  # addi r31, r31, 256
    0x3860FFFF,  # li r3, -1
    0xF87F0000,  # std r3, 0(r31)
    0x38800001,  # li r4, 1
    int(sys.argv[1], 16),
    int(sys.argv[2], 16),
    0x38000001,  # li r0, 1
    0x44000002,  # sc: exit
]
code, start = struct.pack(">9I", *words), 0x1001_0000
head = b"\x7fELF" + bytes([2, 2, 1]).ljust(12, b"\0")
head += struct.pack(">HHIQQQIHHHHHH", 2, 21, 1, start + 120, 64, 0, 2, 64, 56, 1, 64, 0, 0)
head += struct.pack(">IIQQQQQQ", 1, 7, 0, start, start, 120 + len(code), 4096, 65536)
with open("program", "wb") as file:
    file.write(head + code)
END
    chmod +x program
    code=0
    "$bin/qemu-ppc64-static" ./program || code=$?
    echo "$code"
}
{
    echo "lwat: $(ended 7c7f2c8c 807f0000)" # lwat r3, r31, 5; lwz r3, 0(r31)
    echo "ldat: $(ended 7c7f2ccc 807f0004)" # ldat r3, r31, 5; lwz r3, 4(r31)
} | tee seen
diff seen - <<'END'
lwat: 255
ldat: 1
END
