"""What the process of a machine keeps to, once it has its definition and before there is a guest:
the files that the definition names, their folders, and what our own programs need."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from bimetal.backends.net.options import split_words
from bimetal.base.confining.landlock import Access, restrict, version
from bimetal.base.confining.own import OWN_PROGRAM, loader
from bimetal.base.confining.privileges import Capability, give_up_capabilities
from bimetal.base.confining.system_calls import HARMFUL, forbid, library_version
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.folders import cache_home, make_private
from bimetal.control.definition import Definition

__all__ = ["check_confinement", "confine", "reach", "why_not"]

PROGRAM = Access.READ_FILE | Access.EXECUTE
FOLDER = Access.READ | Access.WRITE_FILE | Access.TRUNCATE
DEVICES = ("/dev/kvm", "/dev/net/tun", "/dev/ptmx", "/dev/pts", "/dev/null", "/dev/zero")
READ = ("/dev/urandom", "/dev/random", "/proc", "/sys", "/usr", "/lib", "/lib64")
NAMES = (
    "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf",
    "/etc/services", "/etc/localtime", "/etc/ssl", "/etc/ld.so.cache",
)  # fmt: skip
"""How hosts are found, for user networks."""

PASSTHROUGH = (
    Capability.CHOWN, Capability.DAC_OVERRIDE, Capability.FOWNER, Capability.FSETID,
    Capability.SETGID, Capability.SETUID, Capability.MKNOD,
)  # fmt: skip
"""What it takes to keep owners of a shared folder as the guest sets them."""

NETWORKS = (Capability.NET_ADMIN, Capability.NET_BIND_SERVICE, Capability.NET_RAW)


def why_not(definition: Definition) -> str:
    """Why a machine cannot be confined, "" if it can."""
    if definition.sandbox != "on":
        return "its definition says so"
    if any(nic.network.partition(",")[0] == "passt" for nic in definition.nics):
        return "passt confines itself by mounts and namespaces, which a confined process cannot"
    return ""


def confine(definition: Definition, folder: Path, sockets: Path, restore: str) -> str:
    """Have this process, and what it starts, reach nothing but what a machine of the definition
    needs: its own ``folder`` and that of its ``sockets``, the file from which its state is to be
    ``restore``\\ d, or "", and what `reach` says. What was put in force, in words; parts that
    this host does not have are left out. Raises `BimetalError`."""
    code = cache_home() / "bimetal" / "code"
    temporary = folder / "tmp"
    try:
        make_private(code)
        make_private(temporary)
        tempfile.tempdir = str(temporary)
        give_up_capabilities(_capabilities(definition))
        rules = {
            **dict.fromkeys(_ours(), Access.READ),
            **dict.fromkeys(DEVICES, Access.DEVICE),
            str(folder.parent): Access.REMOVE_DIR,  # of its own folder, if nobody needs that
            str(sockets.parent): Access.READ_DIR | Access.REMOVE_DIR,
            str(code): Access.FILL,
            str(folder): Access.OWN,
            str(sockets): Access.OWN,
            **dict.fromkeys(filter(None, (os.path.realpath(sys.executable), loader())), PROGRAM),
        }
        for path, access in reach(definition).items():
            rules[path] = rules.get(path, Access(0)) | access
        if restore:
            rules[restore] = rules.get(restore, Access(0)) | Access.READ
        found = [f"Landlock {version()}"] * restrict(rules)
        found += [f"seccomp {library_version()}"] * forbid(HARMFUL)
    except OSError as error:
        raise BimetalError(
            f"the process of {definition.name} cannot be confined: {error.strerror or error}",
            "start it unconfined: --sandbox off",
            ExitCode.UNAVAILABLE,
        ) from error
    return ", ".join([*found, "no capabilities"])


def check_confinement() -> str:
    """What there is on this host to confine a machine with. Raises `BimetalError` if something is
    missing."""
    there = {f"Landlock {version()}": version(), f"seccomp {library_version()}": library_version()}
    missing = [name.split()[0] for name, found in there.items() if not found]
    if missing:
        raise BimetalError(
            f"{' and '.join(missing)} cannot be had: machines that stay are confined without",
            "use Linux 5.13 or newer with landlock in /sys/kernel/security/lsm, and install "
            "libseccomp2",
            ExitCode.UNAVAILABLE,
        )
    return ", ".join(there)


def reach(definition: Definition) -> Mapping[str, Access]:
    """The files and folders that the definition names, and what may be done there."""
    rules: dict[str, Access] = {}
    for path, access in _named(definition):
        if path:
            rules[path] = rules.get(path, Access(0)) | access
    return rules


def _named(definition: Definition) -> Iterator[tuple[str, Access]]:
    for path in (definition.kernel, definition.initrd, definition.bios, definition.dtb):
        yield path or "", Access.READ
    for path in definition.flash:
        yield path, Access.READ | Access.WRITE_FILE
    for disk in definition.disks:
        if disk.path.startswith("/dev/"):
            yield disk.path, Access.DEVICE
        elif disk.path:
            yield disk.path, Access.READ if disk.readonly else Access.WRITE
            yield os.path.dirname(os.path.realpath(disk.path)), FOLDER
        for path in disk.backing:
            yield os.path.dirname(os.path.realpath(path)), Access.READ
    for share in definition.shares:
        kinds = Access.MAKE_FIFO | Access.MAKE_CHAR | Access.MAKE_BLOCK
        yield share.path, Access.READ if share.readonly else Access.FILL | kinds
    places = [definition.serial, *(f"unix:{port.path}" for port in definition.ports if port.path)]
    if definition.screen is not None:
        places.append(definition.screen.vnc)
    for place in places:
        kind, _, path = place.partition(":")
        made = {
            "file": Access.MAKE_REG | Access.TRUNCATE,
            "unix": Access.MAKE_SOCK | Access.REMOVE_FILE,
        }.get(kind)
        if made is not None:
            yield os.path.dirname(os.path.abspath(path)), Access.READ | Access.WRITE_FILE | made
    for nic in definition.nics:
        for name, value in split_words(nic.network)[1]:
            if name == "capture":
                yield os.path.dirname(os.path.abspath(value)), Access.WRITE | Access.MAKE_REG


def _ours() -> Iterator[str]:
    """Where our own programs are, and what they look into."""
    yield from OWN_PROGRAM
    yield from READ
    for path in NAMES:
        yield path
        above = os.path.dirname(os.path.realpath(path))
        if not above.startswith("/etc") or os.getuid():
            yield above  # where the file is replaced now and then


def _capabilities(definition: Definition) -> list[Capability]:
    kept = list[Capability]()
    if any(share.security == "passthrough" for share in definition.shares):
        kept += PASSTHROUGH
    if definition.nics:
        kept += NETWORKS
    return kept
