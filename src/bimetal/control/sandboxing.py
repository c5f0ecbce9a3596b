"""What a process gives up that runs a machine for somebody else than us: a person at a terminal, or
libvirt.

Unlike the process of a machine that stays (`confinement`) it may be told of any file later, which
whoever has started it has made ready. So files are as before, and all the rest is gone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from msgspec import Struct

from bimetal.base.confining.landlock import Access, restrict, version
from bimetal.base.confining.own import loader
from bimetal.base.confining.privileges import give_up_new_privileges
from bimetal.base.confining.system_calls import HARMFUL, forbid, library_version
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["Sandbox", "can_confine", "confine"]

IDENTITY = (
    "capset", "setfsgid", "setfsuid", "setgid", "setgroups", "setregid", "setresgid", "setresuid",
    "setreuid", "setuid",
)  # fmt: skip
"""How a process becomes another user's."""

RESOURCES = (
    "ioprio_set", "mbind", "migrate_pages", "sched_setaffinity", "sched_setattr", "sched_setparam",
    "sched_setscheduler", "set_mempolicy", "setpriority",
)  # fmt: skip
"""How a process is given more of the host than others, or other parts of it."""

CONFINES_ITSELF = "passt"
"""A kind of network whose program needs what is gone."""


class Sandbox(Struct, frozen=True):
    """What the process gives up: becoming another user (``identity``), starting ``programs``, and
    having more of the host's ``resources`` than others; and all that no machine needs."""

    identity: bool = True
    programs: bool = True
    resources: bool = True


def can_confine() -> bool:
    """Whether this host has what all of it takes."""
    return bool(version() and library_version())


def confine(sandbox: Sandbox, networks: Iterable[str]) -> None:
    """Have this process, and what it starts, give up what the ``sandbox`` says, for a machine on
    such ``networks``. Call before the machine has threads. Raises `BimetalError` for what cannot be
    done."""
    if any(network.partition(",")[0] == CONFINES_ITSELF for network in networks):
        raise BimetalError(
            f"a sandbox: a network of the kind {CONFINES_ITSELF} confines itself by what it would "
            "be kept from",
            "choose another network, or no sandbox",
            ExitCode.USAGE,
        )
    if not library_version() or (sandbox.programs and not version()):
        raise BimetalError(
            "a sandbox: this host has no libseccomp, or no Landlock, which keeps from programs",
            "install libseccomp2, and use Linux 5.13 or newer with landlock in "
            "/sys/kernel/security/lsm",
            ExitCode.UNAVAILABLE,
        )
    calls = [*HARMFUL, *(IDENTITY * sandbox.identity), *(RESOURCES * sandbox.resources)]
    try:
        give_up_new_privileges()
        if sandbox.programs:
            ours = filter(None, (os.path.realpath(sys.executable), loader()))
            restrict(dict.fromkeys(ours, Access.EXECUTE), of=Access.EXECUTE, scoped=False)
        forbid(calls)
    except OSError as error:
        raise BimetalError(
            f"a sandbox: the process cannot be confined: {error.strerror or error}",
            "leave it away",
            ExitCode.UNAVAILABLE,
        ) from error
