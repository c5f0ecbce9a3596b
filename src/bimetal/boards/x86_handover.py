"""The interrupt controllers of an x86 board where it goes on with another kind of accelerator; see
`SharedControllers`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bimetal.boards.x86_kernel_apic import apic_of, page_of
from bimetal.boards.x86_kernel_irqs import chips_of, devices_of
from bimetal.devices.irq.apic.local import LocalApic
from bimetal.seam import Controllers, LocalController

__all__ = ["KernelControllers"]

Devices = Mapping[str, Mapping[str, Any]]

SHARED = {"io": "ioapic@", "first": "pic@20", "second": "pic@a0", "edges": "elcr@"}
"""How the names begin that the devices have there."""


class KernelControllers:
    """All of them: a local APIC for each CPU, an I/O APIC, and two PICs."""

    def for_kernel(self, devices: Devices, cpus: int, now: int) -> Controllers:
        """See `SharedControllers.for_kernel`."""
        shared = chips_of({part: devices[name] for part, name in _shared(devices).items()})
        local = [
            LocalController(*page_of(devices[_local(number)], number, now))
            for number in range(cpus)
        ]
        return Controllers(local, shared)

    def for_board(
        self, controllers: Controllers, devices: Devices, now: int
    ) -> tuple[Devices, list[bool]]:
        """See `SharedControllers.for_board`."""
        shared = devices_of(controllers.shared)
        changed = {name: shared[part] for part, name in _shared(devices).items()}
        legacy = shared["first"]["outputs"]["intr"]
        levels = []
        for number, each in enumerate(controllers.local):
            apic = apic_of(*each, number, now, legacy=legacy and number == 0)
            changed[_local(number)] = apic
            levels.append(apic["outputs"]["intr"])
        return {**devices, **changed}, levels

    def unused(self, devices: Devices, fresh: Devices) -> Devices:
        """See `SharedControllers.unused`."""
        local = [name for name in devices if name.startswith(f"{LocalApic.kind}@cpu")]
        return {**devices, **{name: fresh[name] for name in (*local, *_shared(devices).values())}}


def _shared(devices: Devices) -> dict[str, str]:
    return {
        part: next(name for name in devices if name.startswith(start))
        for part, start in SHARED.items()
    }


def _local(number: int) -> str:
    return f"{LocalApic.kind}@cpu{number}"
