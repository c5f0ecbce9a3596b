"""The root ports of PCI Express that a board has, behind which devices come and go."""

from __future__ import annotations

from bimetal.base.late import late
from bimetal.devices.pci.host import EcamHost
from bimetal.machine.chassis import Chassis
from bimetal.machine.wanted import RootPortAt

__all__ = ["add_ports"]

LAST_SLOT = 31


def add_ports(m: Chassis, host: EcamHost) -> None:
    """Put root ports on the root bus of ``host``: those whose places are said, and as many as the
    option ``ports`` asks for, from the last slot on downwards. Raises `BimetalError` if a place is
    taken."""
    count = int(m.config.options.get("ports", "0"))
    places = [*m.config.root_ports, *(RootPortAt(LAST_SLOT - number) for number in range(count))]
    if places:
        late("bimetal.boards.sockets:put_ports")(m, host, places)
