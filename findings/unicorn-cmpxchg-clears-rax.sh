#!/bin/sh
# unicorn 2.1.4: a 32-bit CMPXCHG that finds what it expects clears the upper half of RAX.
#
# The accumulator is only written where the comparison fails (Intel SDM volume 2, CMPXCHG), so a
# processor leaves all of RAX as it is; Unicorn writes EAX to itself, which clears bits 63 to 32. With
# and without LOCK. Whoever compares an emulator of x86-64 with it sees this for each equal exchange.
#
# Seen with unicorn 2.1.4 (RAX 0x1111222233334444, memory 0x33334444) and on an Intel Xeon of 2023:
#
#   processor:    0x1111222233334444
#   cmpxchg:      0x33334444
#   lock cmpxchg: 0x33334444
#
# Ends with 0 as long as it is so. Needs an x86-64 host.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check unicorn==2.1.4
"$folder/venv/bin/python" - <<'END' | tee "$folder/seen"
import ctypes
import mmap

import unicorn
from unicorn.x86_const import UC_X86_REG_RAX, UC_X86_REG_RBX, UC_X86_REG_RDI

RAX, MEMORY = 0x1111_2222_3333_4444, 0x3333_4444
PLAIN, LOCKED = bytes.fromhex("0fb11f"), bytes.fromhex("f00fb11f")  # cmpxchg [rdi], ebx

# push rbx; mov ebx, 7; mov rax, RAX; cmpxchg [rdi], ebx; pop rbx; ret
function = b"\x53\xbb\7\0\0\0\x48\xb8" + RAX.to_bytes(8, "little") + PLAIN + b"\x5b\xc3"
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(function)
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
word = ctypes.c_uint32(MEMORY)
call = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p)(address)
print(f"processor:    {call(ctypes.addressof(word)):#x}")

for name, code in (("cmpxchg:     ", PLAIN), ("lock cmpxchg:", LOCKED)):
    machine = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
    machine.mem_map(0x1000, 0x2000)
    machine.mem_write(0x1000, code)
    machine.mem_write(0x2000, MEMORY.to_bytes(4, "little"))
    for register, value in ((UC_X86_REG_RAX, RAX), (UC_X86_REG_RBX, 7), (UC_X86_REG_RDI, 0x2000)):
        machine.reg_write(register, value)
    machine.emu_start(0x1000, 0x1000 + len(code))
    print(f"{name} {machine.reg_read(UC_X86_REG_RAX):#x}")
END
diff "$folder/seen" - <<'END'
processor:    0x1111222233334444
cmpxchg:      0x33334444
lock cmpxchg: 0x33334444
END
