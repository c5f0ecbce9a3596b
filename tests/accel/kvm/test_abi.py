"""The numbers and structures of the KVM interface, against the kernel's own headers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bimetal.accel.kvm import abi
from bimetal.accel.kvm import abi_x86 as x86
from bimetal.accel.kvm.abi import Capability, ExitReason
from bimetal.accel.kvm.layout import Layout
from tests.host import lacking, need

REQUESTS = {
    name: value
    for module in (abi, x86)
    for name in module.__all__
    if isinstance(value := getattr(module, name), int) and value >> 8 & 0xFF == 0xAE
}
RENAMED = {"IRQFD_REQUEST": "IRQFD", "IOEVENTFD_REQUEST": "IOEVENTFD"}
STRUCTURES = {
    "kvm_regs": x86.REGS,
    "kvm_sregs": x86.SREGS,
    "kvm_debugregs": x86.DEBUG_REGS,
    "kvm_guest_debug": x86.GUEST_DEBUG,
    "kvm_translation": x86.TRANSLATION,
    "kvm_userspace_memory_region": abi.MEMORY_REGION,
    "kvm_dirty_log": abi.DIRTY_LOG,
    "kvm_irq_level": abi.IRQ_LEVEL,
    "kvm_irqfd": abi.IRQFD,
    "kvm_ioeventfd": abi.IOEVENTFD,
    "kvm_coalesced_mmio_zone": abi.COALESCED_ZONE,
    "kvm_msi": abi.MSI,
    "kvm_enable_cap": abi.CAPABILITY,
    "kvm_clock_data": abi.CLOCK,
    "kvm_one_reg": abi.ONE_REG,
    "kvm_create_device": abi.DEVICE_CREATE,
    "kvm_device_attr": abi.DEVICE_ATTRIBUTE,
}
SIZES = {
    "kvm_irqchip": x86.IRQCHIP_SIZE,
    "kvm_lapic_state": x86.LAPIC_SIZE,
    "kvm_vcpu_events": x86.EVENTS_SIZE,
    "kvm_xsave": x86.XSAVE_SIZE,
    "kvm_xcrs": x86.XCRS_SIZE,
    "kvm_cpuid_entry2": x86.CPUID_ENTRY.size,
    "kvm_msr_entry": x86.MSR_ENTRY.size,
    "kvm_irq_routing_entry": x86.ROUTE_MSI.size,
    "kvm_coalesced_mmio": abi.COALESCED_ENTRY.size,
}


def of_headers(expressions: dict[str, str], folder: Path) -> dict[str, int]:
    """What a C compiler makes of ``expressions``; a name that the headers lack is left out."""
    need("cc")
    lines = ["#include <linux/kvm.h>", "#include <stddef.h>", "#include <stdio.h>", "int main() {"]
    for name, expression in expressions.items():
        guard = expression if expression.isidentifier() else ""
        if guard:
            lines.append(f"#ifdef {guard}")
        lines.append(f'printf("{name} %llu\\n", (unsigned long long)({expression}));')
        if guard:
            lines.append("#endif")
    source, program = folder / "abi.c", folder / "abi"
    source.write_text("\n".join([*lines, "}"]))
    done = subprocess.run(
        ["cc", "-o", str(program), str(source)], capture_output=True, text=True, check=False
    )
    if "kvm.h: No such file" in done.stderr:
        lacking("the kernel's headers are not installed (Debian: linux-libc-dev)")
    assert done.returncode == 0, done.stderr
    told = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout
    return {name: int(value) for name, value in (line.split() for line in told.splitlines())}


def test_requests(tmp_path: Path) -> None:
    found = of_headers({name: f"KVM_{RENAMED.get(name, name)}" for name in REQUESTS}, tmp_path)
    assert found.keys() >= {"CREATE_VM", "RUN", "GET_SREGS", "IOEVENTFD_REQUEST"}
    assert found == {name: REQUESTS[name] for name in found}


def test_capabilities_and_exits(tmp_path: Path) -> None:
    numbers = {f"CAP_{each.name}": each.value for each in Capability}
    numbers |= {f"EXIT_{each.name}": each.value for each in ExitReason}
    found = of_headers({name: f"KVM_{name}" for name in numbers}, tmp_path)
    assert len(found) > len(numbers) // 2
    assert found == {name: numbers[name] for name in found}


def test_structures(tmp_path: Path) -> None:
    sizes = {name: layout.size for name, layout in STRUCTURES.items()} | SIZES
    found = of_headers({name: f"sizeof(struct {name})" for name in sizes}, tmp_path)
    assert found == sizes


def test_fields_of_the_special_registers(tmp_path: Path) -> None:
    names = {"gdtr": "gdt", "idtr": "idt", "ldtr": "ldt"}
    fields = {name for name in x86.SREGS if not name.endswith("padding")}
    expressions = {}
    for name in fields:
        base, dot, rest = name.partition(".")
        member = f"{names.get(base, base)}{dot}{rest}"
        expressions[name] = f"offsetof(struct kvm_sregs, {member})"
    found = of_headers(expressions, tmp_path)
    assert found == {name: x86.SREGS.offset(name) for name in fields}


def test_where_things_are_in_the_shared_area(tmp_path: Path) -> None:
    places = {
        "request_interrupt_window": abi.Run.REQUEST_INTERRUPT_WINDOW,
        "immediate_exit": abi.Run.IMMEDIATE_EXIT,
        "exit_reason": abi.Run.EXIT_REASON,
        "ready_for_interrupt_injection": abi.Run.READY_FOR_INJECTION,
        "if_flag": abi.Run.IF_FLAG,
        "mmio": abi.Run.UNION,
        "io.data_offset": abi.Run.UNION + 8,
        "mmio.data": abi.Run.MMIO_DATA,
        "mmio.is_write": abi.Run.UNION + 20,
        "debug.arch.pc": abi.Run.UNION + 8,
        "internal.data": abi.Run.UNION + 8,
        "msr.index": abi.Run.UNION + 12,
        "msr.data": abi.Run.UNION + 16,
        "eoi.vector": abi.Run.UNION,
    }
    expressions = {name: f"offsetof(struct kvm_run, {name})" for name in places}
    assert of_headers(expressions, tmp_path) == places


# Layouts


def test_a_layout_reads_back_what_was_put() -> None:
    layout = Layout("a:B b:H c:Q name:4s")
    buffer = layout.new(a=1, b=0x203, name=0x6472_6F77)
    assert buffer.hex() == "0103020000000000000000776f7264"
    assert [layout.get(buffer, field) for field in layout] == [1, 0x203, 0, 0x6472_6F77]
    assert layout.offset("c") == 3
    assert "c" in layout
    assert "d" not in layout


@pytest.mark.parametrize("value", [-1, 1 << 16])
def test_a_layout_refuses_what_does_not_fit(value: int) -> None:
    with pytest.raises(OverflowError, match="does not fit the 16 bits of b"):
        Layout("b:H").new(b=value)


def test_a_layout_has_each_field_once() -> None:
    with pytest.raises(ValueError, match="declared twice"):
        Layout("a:B a:B")
