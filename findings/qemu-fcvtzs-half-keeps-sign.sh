#!/bin/sh
# QEMU 7.2: FCVTZS of a half-precision number to fixed point leaves copies of the sign above the result.
#
# FCVTZS <Hd>, <Hn>, #<fbits> writes 16 bits, and a scalar write of an Advanced SIMD register clears
# all bits above (Arm ARM DDI 0487, C7.2, FCVTZS (vector, fixed-point), and V[] of the pseudo code).
# QEMU's user emulation writes the result as 32 bits: of a negative one, bits 31 to 16 are ones. The
# conversion of single precision beside it, and FCVTZS <Hd>, <Hn> without bits, are right.
#
# The program converts -1.0 and ends with bits 23 to 16 of the register. Seen with Debian's
# qemu-user-static 1:7.2+dfsg-7+deb12u18+b3, -cpu max:
#
#   fcvtzs h0, h1, #4: 255
#   fcvtzs h0, h1:     0
#
# Ends with 0 as long as it is so. Needs qemu-aarch64-static of 7.2 and binutils-aarch64-linux-gnu, or
# fetches their packages.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
bin=$folder/usr/bin
if qemu-aarch64-static --version 2>/dev/null | grep -q 'version 7\.2' && command -v aarch64-linux-gnu-as >/dev/null; then
    bin=$(dirname "$(command -v qemu-aarch64-static)")
else
    apt-get -q download qemu-user-static=1:7.2+dfsg-7+deb12u18+b3 binutils-aarch64-linux-gnu=2.40-2 \
        binutils-common=2.40-2 libbinutils=2.40-2
    for package in *.deb; do dpkg -x "$package" .; done
    LD_LIBRARY_PATH=$folder/usr/lib/x86_64-linux-gnu
    export LD_LIBRARY_PATH
fi
ended() {
    cat > program.s <<END
        .arch armv8.2-a+fp16
        .globl _start
_start: fmov h1, #-1.0
        $1
        umov w0, v0.b[2]
        mov w8, #93
        svc #0
END
    "$bin/aarch64-linux-gnu-as" -o program.o program.s
    "$bin/aarch64-linux-gnu-ld" -o program program.o
    code=0
    "$bin/qemu-aarch64-static" -cpu max ./program || code=$?
    echo "$code"
}
{
    echo "fcvtzs h0, h1, #4: $(ended 'fcvtzs h0, h1, #4')"
    echo "fcvtzs h0, h1:     $(ended 'fcvtzs h0, h1')"
} | tee seen
diff seen - <<'END'
fcvtzs h0, h1, #4: 255
fcvtzs h0, h1:     0
END
