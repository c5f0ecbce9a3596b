"""The state of a whole x86 machine, as `still.save_machine` returns it: what KVM makes of one that
our accelerators ran, and they of one that KVM ran."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bimetal.accel.kvm import abi_x86 as x86
from bimetal.accel.kvm.x86_completing import completed, settled
from bimetal.accel.kvm.x86_exchange import TSC, TSC_ADJUST, TSC_DEADLINE, from_kernel, to_kernel
from bimetal.accel.memory import Memory
from bimetal.accel.saved import Saved
from bimetal.devices.irq.apic.local import LocalApic
from bimetal.isa.x86 import x86 as isa
from bimetal.machine.handover.controllers import chips_of, devices_of
from bimetal.machine.handover.local_apics import apic_of, page_of

__all__ = ["for_engines", "for_kernel"]

State = dict[str, Any]
WORD = (1 << 64) - 1
DEVICES = {"io": "ioapic@", "first": "pic@20", "second": "pic@a0", "edges": "elcr@"}
"""What `controllers` calls the devices of a board, and how their names there begin."""
INTR = 0


def for_kernel(
    state: Mapping[str, Any], fresh: Mapping[str, Any], memory: Memory, xsave_size: int
) -> State:
    """The state for KVM. The board's controllers, which are not in use there, get the ``fresh``
    states of a machine that was not started. Raises `BimetalError`."""
    now, devices, runner = state["clock"], dict(state["devices"]), state["runner"]
    cpus = []
    for number, each in enumerate(runner["cpus"]):
        saved = settled(Saved.read(isa, each["cpu"]), memory, now)
        name = _local(number)
        page, base, deadline = page_of(devices[name], number, now)
        cpu = to_kernel(saved, now=now, parked=bool(each["parked"]), xsave_size=xsave_size)
        cpu["lapic"] = page
        sregs = bytearray(cpu["sregs"])
        x86.SREGS.put(sregs, "apic_base", base)
        x86.SREGS.put(sregs, "cr8", page[0x80] >> 4)
        cpu["sregs"] = bytes(sregs)
        if deadline:
            cpu["msrs"][TSC_DEADLINE] = cpu["msrs"][TSC] - now + deadline & WORD
        cpus.append({**each, "cpu": cpu, "parked": False, "levels": {}})
        devices[name] = fresh[name]
    chips = chips_of({part: devices[_named(devices, part)] for part in DEVICES})
    for part in DEVICES:
        name = _named(devices, part)
        devices[name] = fresh[name]
    platform = {"clock": now, "chips": chips}
    return _changed(state, devices, {**runner, "cpus": cpus, "platform": platform})


def for_engines(state: Mapping[str, Any], memory: Memory) -> State:
    """The state for our accelerators. Raises `BimetalError`."""
    now, devices, runner = state["clock"], dict(state["devices"]), state["runner"]
    controllers = devices_of(runner["platform"]["chips"])
    for part, device in controllers.items():
        devices[_named(devices, part)] = device
    legacy = controllers["first"]["outputs"]["intr"]
    cpus = []
    # All count from the time-stamp counter of the first, which it was read of at the same moment.
    msrs = runner["cpus"][0]["cpu"]["msrs"]
    offset = msrs[TSC] - now - msrs.get(TSC_ADJUST, 0)
    for number, each in enumerate(runner["cpus"]):
        cpu = each["cpu"]
        saved, parked = from_kernel(cpu, index=number, now=now, tsc_offset=offset)
        ahead = offset + cpu["msrs"].get(TSC_ADJUST, 0)
        deadline = cpu["msrs"].get(TSC_DEADLINE, 0)
        moment = max(deadline - ahead, 1) if deadline else 0
        base = x86.SREGS.get(bytes(cpu["sregs"]), "apic_base")
        apic = apic_of(bytes(cpu["lapic"]), base, moment, number, now, legacy and not number)
        devices[_local(number)] = apic
        level = apic["outputs"]["intr"]
        saved.registers["line"][INTR] = int(level)
        plain = completed(saved, memory, now).plain()
        cpus.append({**each, "cpu": plain, "parked": parked, "levels": {INTR: level}})
    return _changed(state, devices, {**runner, "cpus": cpus, "platform": None})


def _changed(state: Mapping[str, Any], devices: State, runner: State) -> State:
    return {**state, "devices": devices, "runner": runner}


def _local(number: int) -> str:
    return f"{LocalApic.kind}@cpu{number}"


def _named(devices: Mapping[str, Any], part: str) -> str:
    starts: Callable[[str], bool] = lambda name: name.startswith(DEVICES[part])  # noqa: E731
    (name,) = filter(starts, devices)
    return name
