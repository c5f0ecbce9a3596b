"""Every access to a CSR, every compressed instruction and words at random, in each mode: what
traps, beside QEMU's system emulation.

Words stand side by side, each with a call behind it. All registers hold an address that no
processor has. Machine mode sets everything anew for each word, and writes down the cause of its
first trap and how far behind the word that was.

pytest -m slow tests/isa/test_riscv_words.py      # more words
"""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from bimetal.isa.riscv import rv64
from bimetal.memory.ram import Ram
from bimetal.seam import Halt, Kicked, MemorySlot, Mmio
from tests.agree.engines import engine
from tests.host import programs

ASSEMBLER, LINKER = "riscv64-linux-gnu-as", "riscv64-linux-gnu-ld"
QEMU = "qemu-system-riscv64"
pytestmark = programs(ASSEMBLER, LINKER, QEMU)

BASE, MEMORY = 0x8000_0000, 32 << 20
STATE_AT, WORDS_AT, FOUND_AT = BASE + 0x8000, BASE + 0x20_0000, BASE + 0x120_0000
NOWHERE = 0x4400_0000_0000_0000
FS, TVM_TW_TSR, MPP = 3 << 13, 7 << 20, 11
ALL, STCE = 0xFFFF_FFFF, 1 << 63
USER, SUPERVISOR, MACHINE = 0, 1, 3
ILLEGAL, LOAD_ACCESS, STORE_ACCESS = 2, 5, 7

PROGRAM = f"""
    .option norelax
    .option norvc
    la t0, trap
    csrw mtvec, t0
next:
    la s0, state
    ld s1, 0(s0)
    lw t1, 0(s1)
    beqz t1, done
    csrw mie, zero
    csrw medeleg, zero
    csrw mideleg, zero
    csrw satp, zero
    csrw pmpcfg0, zero
    li t0, -1
    srli t0, t0, 10
    csrw pmpaddr0, t0
    li t0, 0x1f                  // everything may be accessed
    csrw pmpcfg0, t0
    ld t0, 16(s0)
    csrw mcounteren, t0
    ld t0, 24(s0)
    csrw scounteren, t0
    ld t0, 32(s0)
    csrw menvcfg, t0
    csrw senvcfg, zero
    li t0, {FS}
    csrs mstatus, t0
    csrw fcsr, zero
    ld t0, 40(s0)
    csrw mstatus, t0
    li x31, {NOWHERE}
    csrw sepc, x31
    csrw mepc, s1
    {"; ".join(f"mv x{n}, x31" for n in range(1, 31))}
    mret
    .align 3
trap:
    la s0, state
    ld s1, 0(s0)
    ld s2, 8(s0)
    csrr t0, mcause
    csrr t1, mepc
    sub t1, t1, s1
    sw t0, 0(s2)
    sw t1, 4(s2)
    addi s2, s2, 8
    addi s1, s1, 8
    sd s1, 0(s0)
    sd s2, 8(s0)
    j next
done:
    csrw mie, zero
    ld t0, 48(s0)
    bnez t0, wait                // nobody listens
    li t0, 0x100000
    li t1, 0x5555
    sw t1, 0(t0)
wait:
    wfi
    j wait
    .balign 0x8000
state: .space 4096
"""

Setting = dict[str, int]
SETTINGS: dict[str, tuple[int, Setting]] = {
    "M": (MACHINE, {}),
    "S": (SUPERVISOR, {}),
    "U": (USER, {}),
    "M without floating point": (MACHINE, {"mstatus": 0}),
    "S without floating point": (SUPERVISOR, {"mstatus": 0}),
    "U without floating point": (USER, {"mstatus": 0}),
    "S, which may count": (SUPERVISOR, {"mcounteren": ALL}),
    "S, which may count and compare": (SUPERVISOR, {"mcounteren": ALL, "menvcfg": STCE}),
    "S, which may not compare": (SUPERVISOR, {"menvcfg": STCE}),
    "U, which may count": (USER, {"mcounteren": ALL, "scounteren": ALL}),
    "U, whom S alone lets count": (USER, {"scounteren": ALL}),
    "U, whom M alone lets count": (USER, {"mcounteren": ALL}),
    "S of a guest": (SUPERVISOR, {"mstatus": FS | TVM_TW_TSR, "mcounteren": ALL}),
}


def image(words: Sequence[int], setting: tuple[int, Setting], folder: Path, there: bool) -> bytes:
    """The program with its words."""
    text, made, linked = (folder / name for name in ("w.s", "w.o", "w.elf"))
    text.write_text(PROGRAM.replace("//", "#"))
    subprocess.run([ASSEMBLER, "-march=rv64gc", "-o", made, text], check=True)
    subprocess.run([LINKER, "-Ttext", hex(BASE), "-e", hex(BASE), "-o", linked, made], check=True)
    code = ELFFile(BytesIO(linked.read_bytes())).get_section_by_name(".text").data()
    memory = bytearray(MEMORY)
    memory[: len(code)] = code
    for at, word in zip(range(WORDS_AT - BASE, FOUND_AT - BASE, 8), words, strict=False):
        whole = word if word & 3 == 3 else word | 1 << 16  # and C.NOP
        struct.pack_into("<2I", memory, at, whole, int.from_bytes(rv64.assemble("ecall"), "little"))
    mode, given = setting
    values = (given.get(name, 0) for name in ("mcounteren", "scounteren", "menvcfg"))
    status = given.get("mstatus", FS) | mode << MPP
    numbers = (WORDS_AT, FOUND_AT, *values, status, not there)
    struct.pack_into("<7Q", memory, STATE_AT - BASE, *numbers)
    return bytes(memory)


def qemus(memory: bytes, folder: Path) -> bytes:
    file = folder / "memory"
    file.write_bytes(memory)
    subprocess.run(
        [QEMU, "-M", "virt,memory-backend=ram", "-cpu", "rv64,h=off,zbkb=on,zbkx=on,Zfh=on",
         "-m", f"{MEMORY >> 20}", "-display", "none", "-bios", "none", "-monitor", "none",
         "-serial", "none", "-object",
         f"memory-backend-file,id=ram,size={MEMORY},mem-path={file},share=on"],
        check=True, timeout=120, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return file.read_bytes()


def ours(memory: bytes) -> bytes:
    ram = Ram("ram", MEMORY)
    ram.bytes[:] = memory
    with engine("interp", firmware_calls=False, slice=10_000) as accelerator:
        accelerator.set_memory([MemorySlot(BASE, MEMORY, ram.host)])
        cpu = accelerator.add_cpu(0)
        cpu.write_register("pc", BASE)
        while not isinstance(exit_ := cpu.run(), Halt):
            assert isinstance(exit_, Mmio | Kicked), exit_
            if isinstance(exit_, Mmio):
                exit_.fault = True
    found = bytes(ram.bytes)
    ram.close()
    return found


def settled(word: int, mine: int, theirs: int) -> bool:
    """Whether two causes differ as they should: QEMU 7.2 tells of a load where an atomic update has
    no access (II 3.1.15), lacks Zicond, Zicbom, and the last of mhpmcounters; it has tinfo, CSRs of
    hypervisors without their extension, and hpmcounters (Zihpm)."""
    opcode, csr = word & 0x7F, word >> 20
    if (mine, theirs) == (STORE_ACCESS, LOAD_ACCESS):
        return opcode == 0x2F
    if theirs == ILLEGAL:
        zicond = word & 0xFE00_507F == 0x0E00_5033
        cbo = word & 0x707F == 0x200F
        return zicond or cbo or (opcode == 0x73 and 0xB13 <= csr < 0xB20)
    hpm = 0xC03 <= csr < 0xC20
    return mine == ILLEGAL and opcode == 0x73 and (csr in (0x24D, 0x7A4) or hpm)


def compare(words: Sequence[int], name: str, folder: Path) -> None:
    setting = SETTINGS[name]
    answers = (
        ours(image(words, setting, folder, there=False)),
        qemus(image(words, setting, folder, there=True), folder),
    )
    found = [
        list(struct.iter_unpack("<Ii", data[FOUND_AT - BASE :][: 8 * len(words)]))
        for data in answers
    ]
    wrong = [
        f"{word:#010x}: {mine}, QEMU {theirs}"
        for word, mine, theirs in zip(words, *found, strict=True)
        if mine != theirs and not settled(word, mine[0], theirs[0])
    ]
    assert not wrong, "\n".join([f"{len(wrong)} of {len(words)}", *wrong[:20]])


@pytest.mark.parametrize("name", SETTINGS)
def test_every_csr(name: str, tmp_path: Path) -> None:
    read, write, clear = 2 << 12, 1 << 12 | 5 << 15, 1 << 12
    words = [
        csr << 20 | how | 5 << 7 | 0x73
        for csr in range(4096)
        for how in (read, write, clear)
        # Where machine mode would change what comes next.
        if SETTINGS[name][0] != MACHINE or how == read or csr not in (0x300, 0x305)
    ]
    compare(words, name, tmp_path)


@pytest.mark.parametrize("name", ["M", "U", "S without floating point"])
def test_every_compressed_instruction(name: str, tmp_path: Path) -> None:
    words = [
        word
        for word in range(1, 1 << 16)
        if word & 3 != 3 and not (word & 3 == 1 and word >> 13 > 4)  # a jump to somewhere near
    ]
    compare(words, name, tmp_path)


def candidates(rng: random.Random) -> Iterator[int]:
    """Words at random, instructions with some bits changed among them: no near jumps, nothing that
    waits or returns, no CSRs."""
    while True:
        word = rng.getrandbits(32)
        if rng.random() < 0.7:
            pattern = rng.choice(rv64.insns).pattern
            word = pattern.match & ALL | word & ~pattern.mask
            for _ in range(rng.choice((0, 1, 1, 2))):
                word ^= 1 << rng.randrange(32)
        word |= 3
        system = word & 0x7F == 0x73 and (word >> 12 & 7 or word in (0x1050_0073, 0x3020_0073))
        if word & 0x7F not in (0x63, 0x6F) and not system:
            yield word


def some(seed: int, count: int) -> list[int]:
    found = candidates(random.Random(seed))
    return [next(found) for _ in range(count)]


@pytest.mark.parametrize("name", ["M", "U without floating point"])
def test_words_at_random(name: str, tmp_path: Path) -> None:
    compare(some(1, 20_000), name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["M", "S", "U", "S of a guest", "S without floating point"])
@pytest.mark.parametrize("seed", range(2, 6))
def test_many_words_at_random(seed: int, name: str, tmp_path: Path) -> None:
    compare(some(seed, 400_000), name, tmp_path)
