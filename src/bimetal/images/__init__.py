"""Disk images: made, looked at, checked, converted and changed, as ``bimetal image`` does it.

```python
from bimetal import images

images.create("disk.qcow2", "8G", format="qcow2")
images.convert(["disk.qcow2"], "small.qcow2", target_format="qcow2", compress=True)
assert images.compare("disk.qcow2", "small.qcow2").identical
```

Every function takes paths. ``format`` is what an image is; left out, the rules for disks decide,
which do not guess (docs/disks.md). Images are locked while they are in use, as QEMU locks them. All
functions raise `bimetal.BimetalError` for what the user can put right. What is new is written to a
file beside its place, and gets its name when it is finished.
"""

from __future__ import annotations

from bimetal.base.clock import local_text
from bimetal.images.checking import Check, check
from bimetal.images.committing import commit
from bimetal.images.comparing import Comparison, compare
from bimetal.images.converting import convert
from bimetal.images.creating import create
from bimetal.images.information import Information, Qcow2Information, chain, information
from bimetal.images.mapping import Extent, extents
from bimetal.images.measuring import Measure, measure, measure_new
from bimetal.images.progress import Progress
from bimetal.images.rebasing import rebase
from bimetal.images.resizing import resize
from bimetal.images.serving import ServedImage
from bimetal.images.snapshots import (
    Snapshot,
    apply_snapshot,
    create_snapshot,
    delete_snapshot,
    snapshots,
)

__all__ = [
    "Check",
    "Comparison",
    "Extent",
    "Information",
    "Measure",
    "Progress",
    "Qcow2Information",
    "ServedImage",
    "Snapshot",
    "apply_snapshot",
    "chain",
    "check",
    "commit",
    "compare",
    "convert",
    "create",
    "create_snapshot",
    "delete_snapshot",
    "extents",
    "information",
    "local_text",
    "measure",
    "measure_new",
    "rebase",
    "resize",
    "snapshots",
]
