"""Options that may stand on a command line and change nothing here, each with its reason.

An option whose effect somebody would miss is not among them: it is refused instead.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from bimetal.control.emulator.grammar import wrong

__all__ = ["MEANINGLESS", "Meaningless"]


class Meaningless(Struct, frozen=True):
    """Why an option changes nothing. If only some of its values do so, ``values`` are those."""

    why: str
    takes: bool = True
    values: tuple[str, ...] = ()

    def check(self, name: str, value: str) -> None:
        """Raise `BimetalError` for a value that would change something."""
        if self.values and value not in self.values:
            raise wrong(
                name, f"{value[:80]!r} is not there", f"write one of {', '.join(self.values)}"
            )


MEANINGLESS: Mapping[str, Meaningless] = {
    "no-user-config": Meaningless("there are no configuration files", takes=False),
    "no-hpet": Meaningless("no board has such a timer", takes=False),
    "no-fd-bootchk": Meaningless("no board has floppy disks", takes=False),
    "msg": Meaningless("messages on standard error have a form of their own"),
    "overcommit": Meaningless(
        "memory is taken from the host as the guest uses it, and processors as they are needed",
        values=("mem-lock=off", "cpu-pm=off", "mem-lock=off,cpu-pm=off"),
    ),
    "k": Meaningless("viewers' keys are those of this layout", values=("en-us",)),
}
