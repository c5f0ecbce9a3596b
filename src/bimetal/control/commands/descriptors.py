"""Commands about descriptors that clients hand over with them (SCM_RIGHTS)."""

from __future__ import annotations

from typing import Annotated

from bimetal.control.commands.registry import MACHINE
from bimetal.control.handed import take_handed
from bimetal.control.managed import Managed

__all__ = ["closefd", "getfd"]


@MACHINE.command("getfd")
def getfd(vm: Managed, fdname: Annotated[str, "what to call it"]) -> None:
    """Keep the descriptor that comes with this command, for another one."""
    vm.handed.keep(fdname, take_handed())


@MACHINE.command("closefd")
def closefd(vm: Managed, fdname: Annotated[str, "what it is called"]) -> None:
    """Close a descriptor that no command has used."""
    vm.handed.discard(fdname)
