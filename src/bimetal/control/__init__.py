"""Machines controlled from outside: by QMP, and by their names once they are defined.

```python
from bimetal import Machine
from bimetal.control import Monitor

with Machine(kernel="Image") as vm, Monitor(vm, "unix:/tmp/vm.qmp") as monitor:
    vm.start()
    assert monitor.execute("query-status")["status"] == "running"
```
"""

from __future__ import annotations

from bimetal.control.monitor import Monitor

__all__ = ["Monitor"]
