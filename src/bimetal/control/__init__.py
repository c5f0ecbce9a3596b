"""Machines controlled from outside: by QMP, and by their names once they are defined.

```python
from bimetal import Machine
from bimetal.control import Monitor

with Machine(kernel="Image") as vm, Monitor(vm, "unix:/tmp/vm.qmp") as monitor:
    vm.start()
    assert monitor.execute("query-status")["status"] == "running"
```

Each name is imported when it is first used: a list of machines needs no machine.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bimetal.control.definition import (
        Definition,
        DiskPart,
        NicPart,
        PortPart,
        ScreenPart,
        SharePart,
    )
    from bimetal.control.known import Known
    from bimetal.control.machines import Machines
    from bimetal.control.monitor import Monitor

_HOMES = {
    "Definition": "bimetal.control.definition",
    "DiskPart": "bimetal.control.definition",
    "Known": "bimetal.control.known",
    "Machines": "bimetal.control.machines",
    "Monitor": "bimetal.control.monitor",
    "NicPart": "bimetal.control.definition",
    "PortPart": "bimetal.control.definition",
    "ScreenPart": "bimetal.control.definition",
    "SharePart": "bimetal.control.definition",
}

__all__ = [
    "Definition",
    "DiskPart",
    "Known",
    "Machines",
    "Monitor",
    "NicPart",
    "PortPart",
    "ScreenPart",
    "SharePart",
]


def __getattr__(name: str) -> object:
    """Import a public name from its home (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'bimetal.control' has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
