#!/bin/sh
# unicorn 2.1.4: LDSMAX and LDSMIN of bytes, halves and words compare without signs.
#
# A signed maximum of the smallest number of a width and 1 is 1, and the minimum is the former (Arm
# ARM, C6.2, LDSMAX and LDSMIN). Below 64 bits Unicorn takes the number in memory, extended by zeros,
# for a positive one. Doublewords are right. Whoever tests an emulator of A64 beside it with random
# operands sees this in about half of them.
#
# Seen with unicorn 2.1.4, what is in memory afterwards (X1 is 1):
#
#   ldsmax  8 bits, 0x80:               0x80
#   ldsmin  8 bits, 0x80:               0x1
#   ldsmax 16 bits, 0x8000:             0x8000
#   ldsmin 16 bits, 0x8000:             0x1
#   ldsmax 32 bits, 0x80000000:         0x80000000
#   ldsmin 32 bits, 0x80000000:         0x1
#   ldsmax 64 bits, 0x8000000000000000: 0x1
#   ldsmin 64 bits, 0x8000000000000000: 0x8000000000000000
#
# Ends with 0 as long as it is so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check unicorn==2.1.4
"$folder/venv/bin/python" - <<'END' | tee "$folder/seen"
import unicorn
from unicorn.arm64_const import UC_ARM64_REG_X1, UC_ARM64_REG_X3, UC_CPU_ARM64_MAX

CODE, DATA = 0x1_0000, 0x1_1000


def left(instruction, memory):
    machine = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
    machine.ctl_set_cpu_model(UC_CPU_ARM64_MAX)
    machine.mem_map(CODE, 0x2000)
    machine.mem_write(CODE, instruction.to_bytes(4, "little"))
    machine.mem_write(DATA, memory.to_bytes(8, "little"))
    machine.reg_write(UC_ARM64_REG_X1, 1)
    machine.reg_write(UC_ARM64_REG_X3, DATA)
    machine.emu_start(CODE, CODE + 4)
    return int.from_bytes(machine.mem_read(DATA, 8), "little")


for size in range(4):
    bits = 8 << size
    smallest = 1 << bits - 1
    for name, opcode in (("ldsmax", 0x3820_4000), ("ldsmin", 0x3820_5000)):
        # ldsmax x1, x2, [x3]
        found = left(opcode | size << 30 | 1 << 16 | 3 << 5 | 2, smallest)
        what = f"{name} {bits:2} bits, {smallest:#x}:"
        print(f"{what:35} {found:#x}")
END
sed -n 's/^#   \(lds.*\)/\1/p' "$0" | diff "$folder/seen" -
