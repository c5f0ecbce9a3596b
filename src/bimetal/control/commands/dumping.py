"""Commands that write what is in a machine to files, for debuggers: its memory, its device tree."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import UNSET, UnsetType

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.base.threads import EndingThread
from bimetal.control.commands.registry import MACHINE
from bimetal.control.contract import Answer
from bimetal.control.events import DumpData, DumpInfo, Event
from bimetal.control.failures import CommandFailed, ErrorClass
from bimetal.control.managed import Managed

__all__ = ["dump_guest_memory", "dumpdtb"]

FD, ACTIVE = "fd:", "active"
PLACES = (FD, "file:")
CORE = "bimetal.machine.core_file"


class DumpCapability(Answer):
    """What kinds of core files there are."""

    formats: Annotated[list[str], "always elf alone"]


@MACHINE.command("query-dump-guest-memory-capability")
def query_dump_capability(vm: Managed) -> DumpCapability:
    """List the formats of core files."""
    return DumpCapability(formats=["elf"])


@MACHINE.command("query-dump", out_of_band=True)
def query_dump(vm: Managed) -> DumpInfo:
    """Tell how far a core file is."""
    return vm.dump


@MACHINE.command("dump-guest-memory")
def dump_guest_memory(
    vm: Managed,
    paging: Annotated[bool, "always false: addresses are the machine's own"],
    protocol: Annotated[str, "where to: file:PATH, or fd:NAME, a descriptor that was handed over"],
    detach: Annotated[bool, "return at once: DUMP_COMPLETED tells of the end"] = False,
    format: Annotated[Literal["elf"], "the kind of file"] = "elf",
) -> None:
    """Write all memory, and the registers of the CPUs, to an ELF core file, for gdb and crash. The
    machine stands still meanwhile."""
    if paging:
        raise _failed("virtual addresses are not there", "leave paging off")
    if vm.dump.status == ACTIVE:
        raise _failed("a core file is just written", "wait for the end: query-dump")
    if not protocol.startswith(PLACES):
        raise _failed(f"{protocol[:80]!r} is no place", "write file:PATH or fd:NAME")
    place = protocol
    if protocol.startswith(FD):
        place = f"{FD}{vm.handed.take(protocol.removeprefix(FD))}"
    way = late("bimetal.backends.passage:open_passage")(place)
    failures = list[BimetalError]()

    def work() -> None:
        try:
            with way:
                _write(vm, way)
        except BimetalError as error:
            failures.append(error)

    if detach:
        EndingThread(work, "dump").start()
        return
    work()
    if failures:
        raise failures[0]


def _write(vm: Managed, way: object) -> None:
    """Write the file, and tell of it. Raises `BimetalError`."""
    machine = vm.machine
    goes_on = machine.running and not machine.paused
    why: str | UnsetType = UNSET
    total = late(f"{CORE}:core_size")(machine)
    vm.dump = DumpInfo(status=ACTIVE, completed=0, total=total)

    def moved(count: int) -> None:
        vm.dump.completed += count

    try:
        machine.pause()
        late(f"{CORE}:write_core")(machine, way.write, moved)  # type: ignore[attr-defined]
        way.finish()  # type: ignore[attr-defined]
        vm.dump.status = "completed"
    except OSError as error:
        why = error.strerror or str(error)
        raise BimetalError(f"the core file cannot be written: {why}", "make room") from error
    except BimetalError as error:
        why = error.cause
        raise
    finally:
        if vm.dump.status == ACTIVE:
            vm.dump.status = "failed"
        if goes_on and machine.running:
            machine.resume()
        vm.on_event(Event("DUMP_COMPLETED", DumpData(result=vm.dump, error=why)))


@MACHINE.command("dumpdtb")
def dumpdtb(vm: Managed, filename: Annotated[str, "where to write it"]) -> None:
    """Write the machine's device tree to a file, as a flattened blob."""
    tree = vm.machine.device_tree()
    try:
        Path(filename).write_bytes(tree)
    except OSError as error:
        raise BimetalError(
            f"{filename} cannot be written: {error.strerror}",
            "choose another place",
            ExitCode.IO_ERROR,
        ) from error


def _failed(what: str, remedy: str) -> CommandFailed:
    return CommandFailed(ErrorClass.GENERIC, what, remedy, ExitCode.USAGE)
