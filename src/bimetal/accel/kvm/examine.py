"""What KVM can do on this host, found out by using it: for ``bimetal doctor`` and ``kvm-ok``."""

from __future__ import annotations

import platform
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from bimetal.accel.kvm.abi import Capability
from bimetal.accel.kvm.device import Device, KvmUnavailable
from bimetal.accel.kvm.host import create
from bimetal.accel.kvm.x86_cpu import X86Cpu
from bimetal.base.clock import RealClock
from bimetal.base.errors import BimetalError
from bimetal.memory.ram import Ram
from bimetal.seam import CpuFault, Exit, Halt, MemorySlot, Pio

__all__ = ["Finding", "Kvm", "check_kernels", "check_kvm", "examine"]

Result = TypeVar("Result")

ROUNDS = 2000
"""Exits that are timed."""
EMULATED = "KVM on this host emulates kernel code, and not all of it: no stock kernel boots"
EMULATED_REMEDY = (
    "use a host whose hypervisor passes VT-x or SVM on; --accel kvm tries small guests all the same"
)
MODULES = {"x86_64": ("kvm_intel", "kvm_amd", "kvm_pvm"), "aarch64": (), "riscv64": ("kvm",)}
USEFUL = (
    Capability.MAX_VCPUS,
    Capability.NR_MEMSLOTS,
    Capability.IRQCHIP,
    Capability.SPLIT_IRQCHIP,
    Capability.IRQFD,
    Capability.IOEVENTFD,
    Capability.READONLY_MEM,
    Capability.SET_GUEST_DEBUG,
)


class Finding(Struct, frozen=True):
    """The result of one check. ``remedy`` is what to do if it is not ``well``."""

    what: str
    well: bool
    text: str
    remedy: str = ""


class Kvm(Struct, frozen=True):
    """Everything that was found, and whether it is ``usable``: stock kernels can run."""

    usable: bool
    findings: tuple[Finding, ...]


def check_kvm() -> str:
    """One line about a KVM that works. Raises `BimetalError` with cause and remedy otherwise."""
    device = Device()
    device.close()
    if platform.machine() != "x86_64":
        create(platform.machine()).close()
        return "creates machines and CPUs"
    create_ns, exit_ns = _timed()
    check_kernels("x86_64")
    return (
        f"runs guests: {create_ns / 1e6:.1f} ms for a machine, {exit_ns / 1e3:.1f} us for an exit"
    )


def check_kernels(isa: str) -> None:
    """Find out, in some milliseconds, whether KVM runs the code of kernels of ``isa`` here: some
    hosts emulate it, and not all of it. Raises `KvmUnavailable` if not; only x86 is looked at."""
    if isa == "x86_64" and not _runs_kernels():
        raise KvmUnavailable(EMULATED, EMULATED_REMEDY)


def examine() -> Kvm:
    """Look at the device, the module, the capabilities, and run guests."""
    findings = []
    for step in _steps():
        findings.append(step)
    return Kvm(all(step.well for step in findings), tuple(findings))


def _steps() -> Iterator[Finding]:
    yield _module()
    try:
        device = Device()
    except KvmUnavailable as error:
        yield Finding("device", False, error.cause, error.remedy)
        return
    yield Finding("device", True, f"{device.path} opens")
    values = (f"{each.name} {device.capability(each)}" for each in USEFUL)
    yield Finding("abilities", True, ", ".join(values))
    device.close()
    yield _nesting()
    try:
        create(platform.machine()).close()
    except KvmUnavailable as error:
        yield Finding("machine", False, error.cause, error.remedy)
        return
    yield Finding("machine", True, "a machine and a CPU were created")
    if platform.machine() == "x86_64":
        yield from _guests()


def _guests() -> Iterator[Finding]:
    try:
        create_ns, exit_ns = _timed()
    except BimetalError as error:
        yield Finding("guest", False, error.cause, error.remedy)
        return
    text = f"machine and CPU in {create_ns / 1e6:.2f} ms, a port exit in {exit_ns / 1e3:.1f} us"
    yield Finding("guest", True, f"a guest ran: {text}")
    if _runs_kernels():
        yield Finding("kernels", True, "kernel code runs as it should")
    else:
        yield Finding("kernels", False, EMULATED, EMULATED_REMEDY)


def _module() -> Finding:
    loaded = [
        name for name in MODULES.get(platform.machine(), ()) if Path("/sys/module", name).exists()
    ]
    if loaded:
        return Finding("module", True, f"{', '.join(loaded)} is loaded")
    return Finding("module", True, "no module of its own: built into the kernel, or missing")


def _nesting() -> Finding:
    """Whether this host is itself a guest, and offers virtualisation to its own guests."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        flags = ""
    inside = "inside a virtual machine" if " hypervisor" in flags else "on the machine itself"
    parameters = (Path("/sys/module", name, "parameters/nested") for name in MODULES["x86_64"])
    nested = next((path.read_text().strip() for path in parameters if path.exists()), "")
    text = f"this host runs {inside}"
    if nested:
        text += f", nesting is {'on' if nested in ('1', 'Y') else 'off'}"
    return Finding("nesting", True, text)


# Guests

CODE_AT = 0x1000
PORT = 0x10
LOOP = bytes.fromhex("e610 ebfc")
"""out 10, al; again: in real mode."""

BREAKPOINT = bytes.fromhex("cc f4")
"""int3; hlt: in 32-bit protected mode."""
HANDLER_AT, TABLE_AT = 0x1100, 0x2000
HANDLER = bytes.fromhex("e610 f4")
"""out 10, al; hlt."""
GATE_32 = 0x8E00


def _timed() -> tuple[int, int]:
    """Nanoseconds to create a machine with a CPU, and of one exit to Python and back."""
    clock = RealClock()

    def run(cpu: X86Cpu) -> int:
        for name in ("cs", "cs.base"):
            cpu.write_register(name, 0)
        cpu.write_register("rip", CODE_AT)
        _expect_port(cpu.run())
        started = clock.now_ns()
        for _ in range(ROUNDS):
            cpu.run()
        return (clock.now_ns() - started) // ROUNDS

    started = clock.now_ns()
    machine = create("x86_64")
    create_ns = clock.now_ns() - started
    machine.close()
    return create_ns, _in_guest(LOOP, run)


def _runs_kernels() -> bool:
    """Whether a breakpoint instruction in supervisor code reaches its handler, without the
    reference: the least that a kernel needs and that an emulator of instructions leaves out."""

    def run(cpu: X86Cpu) -> bool:
        registers = {"idtr.base": TABLE_AT, "idtr.limit": 8 * 4 - 1, "gdtr.base": TABLE_AT + 0x100}
        registers |= {"gdtr.limit": 0x17, "rsp": CODE_AT, "cr0": 0x33, "rip": CODE_AT}
        for name in ("cs", "ds", "ss"):
            selector, attributes = (8, 0xC09B) if name == "cs" else (0x10, 0xC093)
            registers |= {name: selector, f"{name}.base": 0, f"{name}.limit": 0xFFFF_FFFF}
            registers[f"{name}.attributes"] = attributes
        for name, value in registers.items():
            cpu.write_register(name, value)
        cpu.may_be_helped = False
        return isinstance(cpu.run(), Pio)

    return _in_guest(BREAKPOINT, run)


def _expect_port(exit: Exit) -> None:
    if isinstance(exit, CpuFault):
        raise BimetalError(f"a guest of two instructions faulted: {exit.message}", exit.details)
    if isinstance(exit, Halt) or not isinstance(exit, Pio) or exit.port != PORT:
        raise BimetalError(f"a guest of two instructions came back with {exit!r}")


def _in_guest(code: bytes, use: Callable[[X86Cpu], Result]) -> Result:
    """What ``use`` makes of a CPU with ``code`` in its memory, and a table for interrupts."""
    ram = Ram("proof", 0x10000)
    ram.bytes[CODE_AT : CODE_AT + len(code)] = code
    ram.bytes[HANDLER_AT : HANDLER_AT + len(HANDLER)] = HANDLER
    gate = struct.pack("<HHHH", HANDLER_AT, 8, GATE_32, 0)
    ram.bytes[TABLE_AT : TABLE_AT + 32] = gate * 4
    descriptors = struct.pack("<3Q", 0, 0x00CF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF)
    ram.bytes[TABLE_AT + 0x100 : TABLE_AT + 0x118] = descriptors
    machine = create("x86_64", controller="none")
    try:
        machine.set_memory([MemorySlot(0, ram.size, ram.host)])
        cpu = machine.add_cpu(0)
        if not isinstance(cpu, X86Cpu):
            raise TypeError(f"{cpu!r} is no x86 CPU")
        return use(cpu)
    finally:
        machine.close()
        ram.close()
