#!/bin/sh
# PyPI fdt 0.3.3: memory reservations of every tree that was ever parsed in a process belong to every
# tree made afterwards.
#
# FDT.__init__ has the default argument entries=[], which all its objects share, and parse_dtb appends
# to it. A tree made from nothing, or parsed from a blob without reservations, is then written with
# those of a tree that has nothing to do with it. The blob below is valid and has one reservation.
#
# Seen with fdt 0.3.3 (the newest, of 2022) and Python 3.11:
#
#   before: []
#   after:  [{'address': 2147483648, 'size': 4096}]
#   twice:  2
#
# Ends with 0 as long as it is so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check fdt==0.3.3
"$folder/venv/bin/python" - <<'EOF' | tee "$folder/seen"
import struct

import fdt

structure = struct.pack(">4I", 1, 0, 2, 9)  # a root without properties
header = struct.pack(">10I", 0xD00DFEED, 88, 72, 88, 40, 17, 16, 0, 0, 16)
kept = struct.pack(">4Q", 0x8000_0000, 0x1000, 0, 0)
blob = header + kept + structure

print("before:", fdt.FDT().entries)
fdt.parse_dtb(blob)
print("after: ", fdt.FDT().entries)
print("twice: ", len(fdt.parse_dtb(blob).entries))
EOF
diff "$folder/seen" - <<'EOF'
before: []
after:  [{'address': 2147483648, 'size': 4096}]
twice:  2
EOF
