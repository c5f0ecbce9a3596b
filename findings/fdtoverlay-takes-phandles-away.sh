#!/bin/sh
# fdtoverlay 1.6.1: an overlay that labels a node which the base tree has already gives that node a
# new phandle, and the base tree's own references to it lead nowhere.
#
# The overlay below is what dtc makes of a valid source: a fragment for &soc that contains
# "mine: uart@2000" and, elsewhere, a reference to &mine. The label is why dtc gives the node of the
# overlay a phandle of its own; merging copies it over the one that /users refers to. (libfdt 1.7
# keeps the base's phandle and changes the overlay's references.)
#
# Seen with Debian's device-tree-compiler 1.6.1-4+b1:
#
#   before: list <0x01>, uart@2000 <0x01>
#   after:  list <0x01>, uart@2000 <0x03>
#
# Ends with 0 as long as it is so. Needs dtc and fdtoverlay of that version, or fetches their package.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
if fdtoverlay --version 2>/dev/null | grep -q 'DTC 1\.6\.1'; then
    bin=$(dirname "$(command -v fdtoverlay)")
else
    apt-get -q download device-tree-compiler=1.6.1-4+b1 libfdt1=1.6.1-4+b1 libyaml-0-2
    for package in *.deb; do dpkg -x "$package" .; done
    bin=$folder/usr/bin
    LD_LIBRARY_PATH=$(dirname "$(find "$folder" -name 'libfdt.so.1' | head -1)")
    export LD_LIBRARY_PATH
fi
cat > base.dts <<'EOF'
/dts-v1/;
/ { soc: soc { uart: uart@2000 { }; }; users { list = <&uart>; }; };
EOF
cat > overlay.dts <<'EOF'
/dts-v1/;
/plugin/;
&soc { mine: uart@2000 { }; user { uart = <&mine>; }; };
EOF
"$bin/dtc" -q -@ -O dtb -o base.dtb base.dts
"$bin/dtc" -q -@ -O dtb -o overlay.dtbo overlay.dts
"$bin/fdtoverlay" -i base.dtb -o out.dtb overlay.dtbo
tell() {
    printf '%s list <0x%02x>, uart@2000 <0x%02x>\n' "$1" \
        "$("$bin/fdtget" -t u "$2" /users list)" "$("$bin/fdtget" -t u "$2" /soc/uart@2000 phandle)"
}
{ tell before: base.dtb; tell 'after: ' out.dtb; } | tee seen
diff seen - <<'EOF'
before: list <0x01>, uart@2000 <0x01>
after:  list <0x01>, uart@2000 <0x03>
EOF
