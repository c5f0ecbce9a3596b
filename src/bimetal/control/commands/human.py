"""The words that people type at a monitor, each in terms of a command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from bimetal.base.errors import BimetalError
from bimetal.base.sizes import MIB, parse_size
from bimetal.control.commands.introspection import query_version
from bimetal.control.commands.kept import (
    delete_snapshot,
    load_snapshot,
    save_snapshot,
    snapshots,
)
from bimetal.control.commands.looking import (
    balloon,
    query_balloon,
    query_chardev,
    query_cpus_fast,
    query_kvm,
)
from bimetal.control.commands.media import change_medium, eject
from bimetal.control.commands.registry import MACHINE
from bimetal.control.commands.running import cont, powerdown, query_status, quit_, reset, stop
from bimetal.control.managed import Managed
from bimetal.control.monitor_words import Word, Words

__all__ = ["human_monitor_command"]

INFO = Words("info")
WORDS = Words("")


@MACHINE.command("human-monitor-command")
def human_monitor_command(
    vm: Managed, command_line: Annotated[str, "a line as a person types it; 'help' lists them"]
) -> str:
    """Carry out a line of the monitor that people type at; what it prints. An error is printed
    too."""
    try:
        return WORDS.run(vm, command_line)
    except BimetalError as error:
        return f"Error: {error.cause}\n"


def _silent(act: Callable[[Managed], None]) -> Callable[[Managed], str]:
    def run(vm: Managed) -> str:
        act(vm)
        return ""

    return run


def _help(vm: Managed) -> str:
    return WORDS.listing() + INFO.listing()


def _info(vm: Managed, what: str = "") -> str:
    return INFO.run(vm, what) if what else INFO.listing()


def _savevm(vm: Managed, name: str) -> str:
    save_snapshot(vm, name)
    return ""


def _loadvm(vm: Managed, name: str) -> str:
    load_snapshot(vm, name)
    return ""


def _delvm(vm: Managed, name: str) -> str:
    delete_snapshot(vm, name)
    return ""


def _balloon(vm: Managed, size: str) -> str:
    balloon(vm, parse_size(size, unit=MIB))
    return ""


def _change(vm: Managed, drive: str, path: str) -> str:
    change_medium(vm, path, device=drive)
    return ""


def _eject(vm: Managed, drive: str) -> str:
    eject(vm, device=drive)
    return ""


for _word in (
    Word("help", _help, "list the words", ("?",)),
    Word("info", _info, "tell of something", takes="WHAT"),
    Word("stop", _silent(stop), "stop the machine", ("s",)),
    Word("cont", _silent(cont), "let it go on", ("c",)),
    Word("system_reset", _silent(reset), "press the reset button"),
    Word("system_powerdown", _silent(powerdown), "press the power button"),
    Word("quit", _silent(quit_), "end the machine", ("q",)),
    Word("savevm", _savevm, "keep the state of the machine in its qcow2 disks", takes="NAME"),
    Word("loadvm", _loadvm, "go back to a state that was kept", takes="NAME"),
    Word("delvm", _delvm, "forget a state that was kept", takes="NAME"),
    Word("balloon", _balloon, "leave so much memory to the guest", takes="MIB"),
    Word("change", _change, "put an image into a CD-ROM drive", takes="DRIVE PATH"),
    Word("eject", _eject, "take out what is in a CD-ROM drive", takes="DRIVE"),
):
    WORDS.add(_word)


def _status(vm: Managed) -> str:
    state = query_status(vm).status
    return f"VM status: {state if state == 'running' else f'paused ({state})'}\n"


def _version(vm: Managed) -> str:
    return f"{query_version(vm).package}\n"


def _name(vm: Managed) -> str:
    return f"{vm.name}\n" if vm.name else ""


def _uuid(vm: Managed) -> str:
    return f"{vm.uuid}\n"


def _kvm(vm: Managed) -> str:
    return f"kvm support: {'enabled' if query_kvm(vm).enabled else 'disabled'}\n"


def _cpus(vm: Managed) -> str:
    return "".join(
        f"{'*' if cpu.cpu_index == 0 else ' '} CPU #{cpu.cpu_index}: thread_id={cpu.thread_id}\n"
        for cpu in query_cpus_fast(vm)
    )


def _block(vm: Managed) -> str:
    lines = []
    for drive in vm.machine.drives():
        there = f"{drive.path} ({drive.format}{', read-only' * drive.readonly})"
        lines.append(f"{drive.name}: {there if drive.path else '[not inserted]'}\n")
    return "".join(lines)


def _snapshots(vm: Managed) -> str:
    names = [each.name for each in snapshots(vm)]
    return "".join(f"{name}\n" for name in names) or "There is no snapshot available.\n"


def _given(vm: Managed) -> str:
    return f"balloon: actual={query_balloon(vm).actual // MIB}\n"


def _chardev(vm: Managed) -> str:
    return "".join(f"{line.label}: filename={line.filename}\n" for line in query_chardev(vm))


def _mtree(vm: Managed) -> str:
    return f"{vm.machine.info_mtree()}\n"


for _word in (
    Word("status", _status, "whether it runs"),
    Word("version", _version, "the version of this program"),
    Word("name", _name, "what the machine is called"),
    Word("uuid", _uuid, "which machine it is"),
    Word("kvm", _kvm, "whether KVM runs it"),
    Word("cpus", _cpus, "its CPUs"),
    Word("block", _block, "its disks and CD-ROM drives"),
    Word("snapshots", _snapshots, "the states that its disks keep"),
    Word("balloon", _given, "how much memory the guest has"),
    Word("chardev", _chardev, "its lines and where they lead"),
    Word("mtree", _mtree, "the memory map"),
):
    INFO.add(_word)
