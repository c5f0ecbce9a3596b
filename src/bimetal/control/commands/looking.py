"""Commands that look at a machine."""

from __future__ import annotations

import os
import platform
from typing import Annotated, Any

from msgspec import UNSET, UnsetType

from bimetal.backends.chars.held import HeldOutput
from bimetal.base.errors import ExitCode
from bimetal.control.commands.registry import MACHINE
from bimetal.control.contract import Answer
from bimetal.control.events import BalloonData
from bimetal.control.failures import CommandFailed, ErrorClass
from bimetal.control.managed import Managed

__all__ = ["ChardevInfo", "CpuInfo", "balloon", "query_balloon", "query_chardev"]
__all__ += ["query_cpus_fast", "query_kvm"]

KVM = "/dev/kvm"
RING = "ringbuf"
"""What QMP calls the far end of a line whose output is held in memory."""


class NameInfo(Answer):
    """The name of a machine."""

    name: Annotated[str | UnsetType, "missing if it has none"] = UNSET


class UuidInfo(Answer, rename=None):
    """The identity of a machine."""

    UUID: Annotated[str, "as in RFC 9562"]


class KvmInfo(Answer):
    """Whether there is KVM."""

    enabled: Annotated[bool, "whether it runs this machine's CPUs"]
    present: Annotated[bool, "whether it can be opened here"]


class TargetInfo(Answer):
    """What kind of processor a machine has."""

    arch: Annotated[str, "the instruction set, as uname -m calls it"]


class CpuInfo(Answer):
    """A CPU of a machine."""

    cpu_index: Annotated[int, "its number, from 0 on"]
    qom_path: Annotated[str, "where it is in the tree of objects"]
    thread_id: Annotated[int, "the host's number of its thread, 0 before the start"]
    target: Annotated[str, "its instruction set"]


class MemorySizeInfo(Answer):
    """How much memory a machine has."""

    base_memory: Annotated[int, "bytes that it was started with"]
    plugged_memory: Annotated[int, "bytes that were plugged in later"] = 0


class ChardevInfo(Answer):
    """Where a line of a machine leads."""

    label: Annotated[str, "the name of the line"]
    filename: Annotated[str, "its far end, such as pty:/dev/pts/3"]
    frontend_open: Annotated[bool, "whether the guest has it open"]


@MACHINE.command("query-name", out_of_band=True)
def query_name(vm: Managed) -> NameInfo:
    """Say what the machine is called."""
    return NameInfo(name=vm.name or UNSET)


@MACHINE.command("query-uuid", out_of_band=True)
def query_uuid(vm: Managed) -> UuidInfo:
    """Say which machine this is."""
    return UuidInfo(UUID=str(vm.uuid))


@MACHINE.command("query-kvm")
def query_kvm(vm: Managed) -> KvmInfo:
    """Say whether KVM is used, and whether it could be: without a machine, whether those that run
    the host's instruction set would use it."""
    present = os.access(KVM, os.R_OK | os.W_OK)
    if vm.given is None:
        ours = present and vm.isa == platform.machine()
        return KvmInfo(enabled=ours, present=ours)
    return KvmInfo(enabled=vm.machine.accel == "kvm", present=present)


@MACHINE.command("query-target")
def query_target(vm: Managed) -> TargetInfo:
    """Say which instruction set the machine has."""
    return TargetInfo(arch=vm.isa)


BEGUN = 60
"""Seconds for a machine to begin: libvirt takes no CPU that has a thread for one that has none."""


@MACHINE.command("query-cpus-fast")
def query_cpus_fast(vm: Managed) -> list[CpuInfo]:
    """List the CPUs, without stopping them."""
    vm.begun.wait(BEGUN)
    return [
        CpuInfo(
            cpu_index=cpu.index,
            qom_path=f"/machine/unattached/device[{cpu.index}]",
            thread_id=cpu.thread_id,
            target=vm.isa,
        )
        for cpu in vm.machine.cpus
    ]


@MACHINE.command("query-iothreads")
def query_iothreads(vm: Managed) -> list[dict[str, Any]]:
    """List the threads for disks that a client may name: there are none."""
    return []


@MACHINE.command("query-memory-size-summary")
def query_memory_size_summary(vm: Managed) -> MemorySizeInfo:
    """Say how much memory the machine has, whatever is in its balloon."""
    return MemorySizeInfo(base_memory=vm.machine.config.memory)


@MACHINE.command("query-chardev")
def query_chardev(vm: Managed) -> list[ChardevInfo]:
    """List the lines of the machine and where they lead."""
    lines = {vm.console_label: vm.machine.console, "hvc0": vm.machine.hvc}
    found = [
        ChardevInfo(label=label, filename=_far_end(line.where, line.name), frontend_open=True)
        for label, line in lines.items()
        if line is not None
    ]
    seen = {each.label for each in found}
    for label in vm.held.keys() - seen:
        found.append(ChardevInfo(label=label, filename=RING, frontend_open=False))
    return found + [
        ChardevInfo(label=label, filename=_far_end(where, ""), frontend_open=False)
        for label, where in vm.lines.items()
    ]


@MACHINE.command("query-balloon")
def query_balloon(vm: Managed) -> BalloonData:
    """Say how much memory the guest has. DeviceNotActive if the machine has no balloon."""
    _check_balloon(vm)
    return BalloonData(actual=vm.machine.balloon().memory)


@MACHINE.command("balloon")
def balloon(vm: Managed, value: Annotated[int, "bytes of memory to leave to the guest"]) -> None:
    """Ask the guest to get along with that much memory, or to take it back. It may take its time:
    BALLOON_CHANGE tells how far it is. DeviceNotActive if the machine has no balloon."""
    _check_balloon(vm)
    vm.machine.balloon().resize(value)


def _check_balloon(vm: Managed) -> None:
    if not vm.machine.config.balloon:
        raise CommandFailed(
            ErrorClass.DEVICE_NOT_ACTIVE,
            "the machine has no balloon",
            "start it with one",
            ExitCode.UNAVAILABLE,
        )


def _far_end(where: str, name: str) -> str:
    """What QMP calls the far end of a line: ``where`` it is, of a console called ``name``."""
    if where.startswith("/dev/"):
        return f"pty:{where}"
    if name == HeldOutput.__name__:
        return RING
    if where.startswith("fd:"):
        return f"disconnected:{where},server=on"
    if where.startswith(("unix:", "tcp:")):
        return f"{where},server=on"
    return where or ("stdio" if name == "stdio" else "null")
