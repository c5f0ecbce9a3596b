"""Bimetal: virtual machines in Python. These names are the public interface.

Each is imported when it is first used, so that ``import bimetal`` and ``bimetal --help`` are
quick: a machine needs LLVM, the help text does not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bimetal.accel.kvm.examine import check_kvm
    from bimetal.accel.kvm.examine import examine as examine_kvm
    from bimetal.base.errors import BimetalError, ExitCode
    from bimetal.base.sizes import format_size, parse_size
    from bimetal.base.trace import configure as set_trace
    from bimetal.boards import Machine
    from bimetal.catalogue import GUESTS, Guest, Payload, cache_folder, check_mirror
    from bimetal.catalogue import cached as cached_guest
    from bimetal.catalogue import fetch as fetch_guest
    from bimetal.codegen.store import CodeStore
    from bimetal.isa.names import disassemble
    from bimetal.machine.result import Ending, Result

__version__ = "0.1.0"

_HOMES = {
    "BimetalError": "bimetal.base.errors",
    "CodeStore": "bimetal.codegen.store",
    "Ending": "bimetal.machine.result",
    "ExitCode": "bimetal.base.errors",
    "GUESTS": "bimetal.catalogue",
    "Guest": "bimetal.catalogue",
    "Machine": "bimetal.boards",
    "Payload": "bimetal.catalogue",
    "Result": "bimetal.machine.result",
    "cache_folder": "bimetal.catalogue",
    "cached_guest": "bimetal.catalogue:cached",
    "check_kvm": "bimetal.accel.kvm.examine",
    "check_mirror": "bimetal.catalogue",
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
    "BimetalError",
    "CodeStore",
    "Ending",
    "ExitCode",
    "Guest",
    "Machine",
    "Payload",
    "Result",
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
