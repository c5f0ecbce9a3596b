"""Commands about descriptors that clients hand over with them (SCM_RIGHTS)."""

from __future__ import annotations

import os
from typing import Annotated

from msgspec import UNSET, UnsetType

from bimetal.backends.handing import FDSETS
from bimetal.base.errors import ExitCode
from bimetal.control.commands.registry import MACHINE
from bimetal.control.contract import Answer
from bimetal.control.failures import CommandFailed, ErrorClass
from bimetal.control.handed import LIMIT, take_handed
from bimetal.control.managed import Managed

__all__ = ["add_fd", "closefd", "getfd", "query_fdsets", "remove_fd"]


@MACHINE.command("getfd")
def getfd(vm: Managed, fdname: Annotated[str, "what to call it"]) -> None:
    """Keep the descriptor that comes with this command, for another one."""
    vm.handed.keep(fdname, take_handed())


@MACHINE.command("closefd")
def closefd(vm: Managed, fdname: Annotated[str, "what it is called"]) -> None:
    """Close a descriptor that no command has used."""
    vm.handed.discard(fdname)


class AddedFd(Answer):
    """A descriptor that is in a set now."""

    fdset_id: Annotated[int, "the number of the set"]
    fd: Annotated[int, "the number of the descriptor here"]


class FdInfo(Answer):
    """A descriptor in a set."""

    fd: Annotated[int, "its number here"]
    opaque: Annotated[str | UnsetType, "what was said of it"] = UNSET


class FdsetInfo(Answer):
    """A set of descriptors: the path ``/dev/fdset/N`` means one of them."""

    fdset_id: Annotated[int, "its number, N"]
    fds: Annotated[list[FdInfo], "what is in it"]


@MACHINE.command("add-fd")
def add_fd(
    vm: Managed,
    fdset_id: Annotated[int | None, "the number of the set; a new one if nothing is said"] = None,
    opaque: Annotated[str, "what is to be known of it"] = "",
) -> AddedFd:
    """Put the descriptor that comes with this command into a set. Where a path is wanted, the path
    ``/dev/fdset/N`` means the one of set N that can be used so."""
    if fdset_id is not None and fdset_id < 0:
        raise _failed(f"there is no set {fdset_id}", "count from 0 on")
    with vm.lock:
        if sum(map(len, FDSETS.values())) >= LIMIT:
            raise _failed("there are too many descriptors", "remove-fd")
        descriptor = take_handed()
        number = fdset_id if fdset_id is not None else max(FDSETS, default=-1) + 1
        FDSETS.setdefault(number, {})[descriptor] = opaque
    return AddedFd(fdset_id=number, fd=descriptor)


@MACHINE.command("remove-fd")
def remove_fd(
    vm: Managed,
    fdset_id: Annotated[int, "the number of the set"],
    fd: Annotated[int | None, "this one alone; all of them if nothing is said"] = None,
) -> None:
    """Take descriptors out of a set. What was opened by them stays open."""
    with vm.lock:
        there = FDSETS.get(fdset_id, {})
        gone = [fd] if fd is not None else [*there]
        if not there or any(each not in there for each in gone):
            raise _failed(f"the set {fdset_id} has no such descriptor", "see query-fdsets")
        for each in gone:
            del there[each]
            os.close(each)
        if not there:
            del FDSETS[fdset_id]


@MACHINE.command("query-fdsets")
def query_fdsets(vm: Managed) -> list[FdsetInfo]:
    """List the sets of descriptors."""
    with vm.lock:
        return [
            FdsetInfo(
                fdset_id=number,
                fds=[FdInfo(fd=fd, opaque=said or UNSET) for fd, said in there.items()],
            )
            for number, there in sorted(FDSETS.items())
        ]


def _failed(what: str, remedy: str) -> CommandFailed:
    return CommandFailed(ErrorClass.GENERIC, what, remedy, ExitCode.USAGE)
