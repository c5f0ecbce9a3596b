"""Bimetal: virtual machines in Python. These names are the public interface.

Each is imported when it is first used, so that ``import bimetal`` and ``bimetal --help`` are
quick: a machine needs LLVM, the help text does not.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # as type checkers take it; typing itself would take longer than all the rest
if TYPE_CHECKING:
    from bimetal.accel.kvm.examine import check_kvm
    from bimetal.accel.kvm.examine import examine as examine_kvm
    from bimetal.base.errors import BimetalError, ExitCode
    from bimetal.base.folders import cache_folder
    from bimetal.base.sizes import format_size, parse_size
    from bimetal.base.trace import configure as set_trace
    from bimetal.catalogue import GUESTS, Guest, Payload
    from bimetal.catalogue import cached as cached_guest
    from bimetal.catalogue import fetch as fetch_guest
    from bimetal.catalogue.apt import check_mirror
    from bimetal.codegen.store import CodeStore
    from bimetal.isa.names import disassemble
    from bimetal.machine.aio import AsyncMachine
    from bimetal.machine.console import Console
    from bimetal.machine.counting import Stats
    from bimetal.machine.cpu_view import CpuView
    from bimetal.machine.device_view import DeviceView
    from bimetal.machine.expect import EndOfRun, Found, TimedOut
    from bimetal.machine.machine import Machine
    from bimetal.machine.memory_view import MemoryView
    from bimetal.machine.profile import GuestProfile
    from bimetal.machine.result import Ending, Result
    from bimetal.memory.space import BadAddress

__version__ = "0.1.0"

_HOMES = {
    "AsyncMachine": "bimetal.machine.aio",
    "BadAddress": "bimetal.memory.space",
    "BimetalError": "bimetal.base.errors",
    "CodeStore": "bimetal.codegen.store",
    "Console": "bimetal.machine.console",
    "CpuView": "bimetal.machine.cpu_view",
    "DeviceView": "bimetal.machine.device_view",
    "EndOfRun": "bimetal.machine.expect",
    "Ending": "bimetal.machine.result",
    "ExitCode": "bimetal.base.errors",
    "Found": "bimetal.machine.expect",
    "GUESTS": "bimetal.catalogue",
    "Guest": "bimetal.catalogue",
    "GuestProfile": "bimetal.machine.profile",
    "Machine": "bimetal.machine.machine",
    "MemoryView": "bimetal.machine.memory_view",
    "Payload": "bimetal.catalogue",
    "Result": "bimetal.machine.result",
    "Stats": "bimetal.machine.counting",
    "TimedOut": "bimetal.machine.expect",
    "cache_folder": "bimetal.base.folders",
    "cached_guest": "bimetal.catalogue:cached",
    "check_kvm": "bimetal.accel.kvm.examine",
    "check_mirror": "bimetal.catalogue.apt",
    "disassemble": "bimetal.isa.names",
    "examine_kvm": "bimetal.accel.kvm.examine:examine",
    "fetch_guest": "bimetal.catalogue:fetch",
    "format_size": "bimetal.base.sizes",
    "parse_size": "bimetal.base.sizes",
    "set_trace": "bimetal.base.trace:configure",
}
"""Each name's module, and its name there if that is another."""

__all__ = [
    "GUESTS",
    "AsyncMachine",
    "BadAddress",
    "BimetalError",
    "CodeStore",
    "Console",
    "CpuView",
    "DeviceView",
    "EndOfRun",
    "Ending",
    "ExitCode",
    "Found",
    "Guest",
    "GuestProfile",
    "Machine",
    "MemoryView",
    "Payload",
    "Result",
    "Stats",
    "TimedOut",
    "cache_folder",
    "cached_guest",
    "check_kvm",
    "check_mirror",
    "disassemble",
    "examine_kvm",
    "fetch_guest",
    "format_size",
    "parse_size",
    "set_trace",
]


def __getattr__(name: str) -> object:
    """Import a public name from its home (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'bimetal' has no attribute {name!r}")
    module, _, attribute = home.partition(":")
    value: object = getattr(import_module(module), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
