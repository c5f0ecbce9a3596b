"""The command that tells what can be seen of a machine, from which it follows why it is slow."""

from __future__ import annotations

from typing import Annotated, Any

from bimetal.control.commands.registry import MACHINE
from bimetal.control.contract import plain
from bimetal.control.managed import Managed

__all__ = ["observe"]


@MACHINE.command("bimetal-observe")
def observe(
    vm: Managed,
    whole: Annotated[bool, "also why there is no KVM, which takes some milliseconds"] = False,
) -> dict[str, Any]:
    """Tell what the parts of the machine have counted, where its CPUs are, and how the host is:
    twice, and `bimetal explain` tells why the machine is slow."""
    seen: dict[str, Any] = plain(vm.machine.observe(whole=whole))
    return seen
