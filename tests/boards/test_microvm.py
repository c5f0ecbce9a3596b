"""The board ``microvm`` as its firmware tables tell of it, and as a list of exits."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from bimetal.accel.script import ScriptAccelerator, ScriptCpu, Step
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.boards import microvm
from bimetal.machine.machine import Machine
from bimetal.machine.result import Ending
from bimetal.seam import Mmio, Pio, RegisterAccess
from tests.firmware.test_x86 import bzimage
from tests.kvm_bed.hello import LOAD_AT, hello_kernel

LIMIT = 20


class ScriptPc(ScriptAccelerator):
    """Script CPUs with the interrupt controller that the board asks for."""

    def __init__(self, *scripts: list[Step]):
        super().__init__(*scripts)
        self.irqs: list[tuple[int, bool]] = []
        self.loads = 0

    def set_irq(self, irq: int, level: bool) -> None:
        self.irqs.append((irq, level))

    def bind_irq(self, irq: int, fd: int, resample_fd: int | None = None) -> None:
        raise AssertionError("nobody binds interrupts here")

    def unbind_irq(self, irq: int, fd: int) -> None:
        raise AssertionError("nobody binds interrupts here")

    def send_msi(self, address: int, data: int) -> None:
        raise AssertionError("nobody sends messages here")

    def save(self) -> Mapping[str, object]:
        return {"fresh": True}

    def load(self, state: Mapping[str, object]) -> None:
        assert state == {"fresh": True}
        self.loads += 1


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    path = tmp_path / "vmlinuz"
    path.write_bytes(bzimage())
    return path


def elf_for(machine_number: int, bits: int) -> bytes:
    """An executable with a page of code, of the class ELFCLASS32 (1) or ELFCLASS64."""
    ident = b"\x7fELF" + bytes((bits, 1, 1)).ljust(12, b"\0")
    if bits == 1:
        rest = (1 << 20, 52, 0, 0, 52, 32, 1, 0, 0, 0)
        head = struct.pack("<HHIIIIIHHHHHH", 2, machine_number, 1, *rest)
        part = struct.pack("<8I", 1, 84, 1 << 20, 1 << 20, 4096, 4096, 5, 4)
    else:
        rest = (1 << 20, 64, 0, 0, 64, 56, 1, 0, 0, 0)
        head = struct.pack("<HHIQQQIHHHHHH", 2, machine_number, 1, *rest)
        part = struct.pack("<IIQQQQQQ", 1, 5, 120, 1 << 20, 1 << 20, 4096, 4096, 4)
    return ident + head + part + bytes(4096)


def machine(kernel: Path, pc: ScriptAccelerator, **options: object) -> Machine:
    settings: dict[str, object] = {"memory": "64M", "kernel": str(kernel), **options}
    return Machine("microvm", accel=pc, **settings)  # type: ignore[arg-type]


def write(port: int, value: int) -> Pio:
    return Pio(port, 1, True, value)


def test_power_off_through_acpi(kernel: Path) -> None:
    with machine(kernel, ScriptPc([write(0x600, 0x34)])) as vm:
        vm.start()
        result = vm.wait(LIMIT)
    assert (result.ending, result.code) == (Ending.POWER_OFF, 0)


@pytest.mark.parametrize(("status", "ending"), [(0x3333, Ending.POWER_OFF), (0x7777, Ending.RESET)])
def test_an_end_with_an_exit_code(kernel: Path, status: int, ending: Ending) -> None:
    steps: list[Step] = [Mmio(0xD010_0000, 4, write=True, value=7 << 16 | status)]
    with machine(kernel, ScriptPc(steps), reboot=False) as vm:
        vm.start()
        result = vm.wait(LIMIT)
    assert (result.ending, result.code) == (ending, 7)


@pytest.mark.parametrize("reset", [write(0x602, 1), write(0x64, 0xFE)], ids=["acpi", "i8042"])
def test_a_reset_starts_the_kernel_anew(kernel: Path, reset: Pio) -> None:
    pc = ScriptPc([reset, write(0x600, 0x34)])
    with machine(kernel, pc) as vm:
        vm.start()
        assert vm.wait(LIMIT).ending is Ending.POWER_OFF
        assert pc.cpus[0].resets == 1
        assert pc.loads == 1
        assert pc.cpus[0].registers["rip"] == 0x100_0200


def test_the_serial_port_speaks_and_interrupts(kernel: Path) -> None:
    enable = write(0x3F9, 2)
    pc = ScriptPc([write(0x3F8, ord("B")), enable, write(0x600, 0x34)])
    with machine(kernel, pc) as vm:
        vm.start()
        vm.console.expect("B", LIMIT)
        vm.wait(LIMIT)
    assert (4, True) in pc.irqs


def test_a_wide_port_access_is_one_of_each_port_as_on_isa(kernel: Path) -> None:
    steps: list[Step] = [
        Pio(0x3F8, 4, write=True, value=0x1B_07_05_41),  # transmit, interrupts, FIFOs, line
        Pio(0x3F8 + 1, 1),
        Pio(0x3F8 + 3, 1),
        Pio(0x3F8 + 4, 4),
        Pio(0x70, 2, write=True, value=0x5A_40),  # index and data of the clock's memory
        Pio(0x71, 1),
        Pio(0x70, 2),
        Pio(0x71, 2),  # misaligned, and half of it where nothing is
        Pio(0x604, 2, write=True, value=0xFFFF),  # nothing is there
        Pio(0x600, 2, write=True, value=0xFF_34),
    ]
    pc = ScriptPc(steps)
    with machine(kernel, pc) as vm:
        vm.start()
        assert vm.wait(LIMIT).ending is Ending.POWER_OFF
        assert vm.console.log == "A"
    assert pc.cpus[0].answers == [0x05, 0x1B, 0x00_B0_60_00, 0x5A, 0x5A_40, 0xFF_5A]


PROBED = {0x2E: 2, 0x4E: 2, 0x87: 1, 0x2F8: 8, 0xCF8: 8}
"""Ports at which Linux looks for Super-I/O chips, a DMA controller (`i8237A_init_ops`), a second
serial port, and PCI."""


def test_what_linux_looks_for_is_no_error(kernel: Path, caplog: pytest.LogCaptureFixture) -> None:
    ports = [first + n for first, count in PROBED.items() for n in range(count)]
    probes = [probe for port in ports for probe in (write(port, 0x87), Pio(port, 1))]
    pc = ScriptPc([*probes, write(0x600, 0x34)])
    with machine(kernel, pc) as vm:
        vm.start()
        assert vm.wait(LIMIT).ending is Ending.POWER_OFF
    assert pc.cpus[0].answers == [0xFF] * len(ports)
    assert not caplog.records


def test_a_machine_that_was_saved_before_more_of_it_was_known_goes_on(
    kernel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(microvm, "LOOKED_FOR", {0x2E8: 8, 0x2F8: 8, 0x3E8: 8, 0xCF8: 8})
        with machine(kernel, ScriptPc()) as vm:
            vm.start()
            vm.save(str(tmp_path / "saved"))
    pc = ScriptPc([Pio(0x2E, 1), write(0x600, 0x34)])
    with Machine.restore(str(tmp_path / "saved"), accel=pc) as vm:
        vm.start()
        assert vm.wait(LIMIT).ending is Ending.POWER_OFF
    assert pc.cpus[0].answers == [0xFF]


def test_cpu_0_enters_the_kernel_and_the_others_wait(kernel: Path) -> None:
    pc = ScriptPc([write(0x600, 0x34)], [])
    with machine(kernel, pc, cpus=2, append="console=ttyS0") as vm:
        vm.start()
        vm.wait(LIMIT)
        first, second = pc.cpus
        assert first.registers["rip"] == 0x100_0200
        assert first.registers["cs.attributes"] == 0xA09B
        zero_page = first.registers["rsi"]
        (line_at,) = struct.unpack("<I", vm.memory.read(zero_page + 0x228, 4))
        assert vm.memory.read(line_at, 14) == b"console=ttyS0\0"
        assert not second.registers


def test_a_kernel_for_32_bits_is_entered_without_paging(kernel: Path) -> None:
    """As Linux says in boot.rst, "32-bit Boot Protocol"."""
    kernel.write_bytes(bzimage(flags=0))
    pc = ScriptPc([write(0x600, 0x34)])
    with machine(kernel, pc) as vm:
        vm.start()
        vm.wait(LIMIT)
        registers = pc.cpus[0].registers
        assert vm.memory.read(registers["rsi"] + 0x202, 4) == b"HdrS"
    assert registers["rip"] == 0x100_0000
    assert (registers["cr0"], registers["cs"], registers["ds"]) == (1, 0x10, 0x18)
    assert registers["cs.attributes"] == 0xC09B
    assert not {registers.get(name, 0) for name in ("rbp", "rdi", "rbx")} - {0}


def test_an_elf_kernel_is_entered_by_pvh(tmp_path: Path) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(hello_kernel())
    pc = ScriptPc([write(0x600, 0x34)])
    with machine(path, pc) as vm:
        vm.start()
        vm.wait(LIMIT)
        registers = pc.cpus[0].registers
        assert (registers["rip"], registers["cr0"]) == (LOAD_AT, 1)
        info = registers["rbx"]
        assert vm.memory.read(info, 4) == b"\x78\xc5\x6e\x33"


def test_more_than_three_gigabytes_go_around_the_hole(kernel: Path) -> None:
    pc = ScriptPc([write(0x600, 0x34)])
    with machine(kernel, pc, memory="4G") as vm:
        text = vm.info_mtree()
    assert "0000000000000000-00000000bfffffff ram" in text
    assert "0000000100000000-000000013fffffff ram" in text


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda path: path.write_bytes(b"\x13" * 4096), "is not a kernel for this board"),
        (lambda path: path.write_bytes(bzimage()[:1000]), "is damaged"),
        (lambda path: path.write_bytes(bzimage(init_size=1 << 29)), "give it at least 528 MiB"),
    ],
    ids=["raw", "truncated", "large"],
)
def test_kernels_that_do_not_start(
    kernel: Path, change: Callable[[Path], object], why: str
) -> None:
    change(kernel)
    with machine(kernel, ScriptPc([])) as vm, pytest.raises(BimetalError, match=why):
        vm.start()


@pytest.mark.parametrize("memory", ["1M", "2M", "16M"])
def test_too_little_memory_for_the_kernel_says_how_much_would_do(kernel: Path, memory: str) -> None:
    with (
        machine(kernel, ScriptPc(), memory=memory) as vm,
        pytest.raises(BimetalError, match="give it at least 17 MiB"),
    ):
        vm.start()
    with machine(kernel, ScriptPc([write(0x600, 0x34)]), memory="17M") as vm:
        vm.start()
        assert vm.wait(LIMIT).ending is Ending.POWER_OFF


@pytest.mark.parametrize("image", [bytes(bzimage()), hello_kernel()], ids=["bzImage", "ELF"])
def test_a_kernel_for_64_bits_needs_a_processor_with_long_mode(kernel: Path, image: bytes) -> None:
    kernel.write_bytes(image)
    small = Machine("microvm", accel="jit", cpu_model="max,-lm", kernel=str(kernel))
    with small as vm, pytest.raises(BimetalError, match=r"is for 64 bits.* no long mode") as caught:
        vm.start()
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_kernel_for_32_bits_needs_none(kernel: Path) -> None:
    kernel.write_bytes(bytes(bzimage(flags=0)))
    with Machine("microvm", accel="jit", cpu_model="max,-lm", kernel=str(kernel)) as vm:
        vm._parts.furnished().boot.load()


def begun(kernel: Path) -> BimetalError | None:
    """What a machine says of the kernel when it is started."""
    with machine(kernel, ScriptPc([])) as vm:
        try:
            vm.start()
        except BimetalError as error:
            return error
        return None


@pytest.mark.parametrize("whole", [bytes(bzimage()), hello_kernel()], ids=["bzImage", "ELF"])
def test_a_kernel_that_is_truncated_anywhere_is_answered(kernel: Path, whole: bytes) -> None:
    header = 0x300
    for length in (
        *range(0, min(header, len(whole)), 7),
        *range(header, len(whole), 301),
        len(whole) - 1,
    ):
        kernel.write_bytes(whole[:length])
        answer = begun(kernel)
        assert answer is not None, length
        assert (answer.exit_code, bool(answer.remedy)) == (ExitCode.DATA, True), length
        assert str(kernel) in answer.cause, length


FOREIGN = [
    (elf_for(243, 2), "another processor (RISC-V)"),
    (elf_for(183, 2), "another processor (AArch64)"),
    (elf_for(62, 1), "32"),
    (b"MZ".ljust(56, b"\0") + b"ARM\x64".ljust(4096, b"\0"), "a Linux kernel for AArch64"),
    (bytes(48) + b"RISCV\0\0\0RSC\x05".ljust(4096, b"\0"), "a Linux kernel for RISC-V"),
    (b"MZ".ljust(4096, b"\0"), "a program for EFI"),
    (bytes(bzimage(version=0x0204)), "speaks boot protocol 2.4"),
]


@pytest.mark.parametrize(("image", "why"), FOREIGN, ids=[row[1] for row in FOREIGN])
def test_a_kernel_for_another_processor_or_mode_is_named(
    kernel: Path, image: bytes, why: str
) -> None:
    kernel.write_bytes(image)
    answer = begun(kernel)
    assert answer is not None
    assert why in answer.cause
    assert (answer.exit_code, bool(answer.remedy)) == (ExitCode.DATA, True)


def test_firmware_has_no_place(kernel: Path) -> None:
    with (
        machine(kernel, ScriptPc([]), bios=str(kernel)) as vm,
        pytest.raises(BimetalError, match="no place for firmware"),
    ):
        vm.start()


def test_raw_kernels_have_no_place(kernel: Path) -> None:
    with (
        machine(kernel, ScriptPc([]), kernel_format="raw") as vm,
        pytest.raises(BimetalError, match="starts no raw binaries"),
    ):
        vm.start()


def test_a_command_line_that_is_too_long(kernel: Path) -> None:
    with (
        machine(kernel, ScriptPc([]), append="x" * 3000) as vm,
        pytest.raises(BimetalError, match="has 3000 bytes, the kernel takes 2047"),
    ):
        vm.start()


APIC, COMMAND, COMMAND_HIGH, SPURIOUS = 0xFEE0_0000, 0x300, 0x310, 0xF0
TAKE, STARTED = 0x1000, 0x9A
INTR = 0


def test_an_accelerator_without_interrupt_controllers(kernel: Path) -> None:
    """The board has its own: CPU 0 enables its local APIC, lets the serial port interrupt by the
    I/O APIC, takes that interrupt, and starts CPU 1, which waits until then."""
    power_off = Pio(0x600, 1, True, 0x34)
    script: list[Step] = [
        Mmio(APIC + SPURIOUS, 4, True, 0x1FF),
        Mmio(0xFEC0_0000, 4, True, 0x10 + 2 * 4),
        Mmio(0xFEC0_0010, 4, True, 0x51),
        Pio(0x3F9, 1, True, 2),  # interrupts when it can send
        taken := RegisterAccess(TAKE),
        Mmio(APIC + COMMAND_HIGH, 4, True, 1 << 24),
        Mmio(APIC + COMMAND, 4, True, 0x4500),
        Mmio(APIC + COMMAND, 4, True, 0x4600 | STARTED),
    ]
    accelerator = ScriptAccelerator(script, [power_off])
    with machine(kernel, accelerator, cpus=2) as vm:
        vm.start()
        result = vm.wait(LIMIT)
        assert result.ending is Ending.POWER_OFF
        assert taken.value == 0x100 | 0x51
        first, second = accelerator.cpus
        assert first.lines[INTR] is False
        assert (second.registers["cs"], second.registers["rip"]) == (STARTED << 8, 0)
        assert second.registers["cs.base"] == STARTED << 12


def test_script_cpus_are_what_they_are_taken_for() -> None:
    assert isinstance(ScriptPc([]).add_cpu(0), ScriptCpu)
