"""What people have said of the states that the disks of a machine keep. Images have no room for it,
so it lies beside the lease, and is forgotten with the state."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from bimetal.control.places import write_whole

__all__ = ["Descriptions"]

LIMIT = 4 << 20


class Descriptions:
    """Those of one machine, by the names of states; kept in the file ``place``."""

    def __init__(self, place: Path):
        self._place = place

    def of(self, name: str) -> str:
        """What was said of the state ``name``, or ""."""
        return self._all().get(name, "")

    def note(self, name: str, description: str) -> None:
        """Have something said of the state ``name``, or nothing for "". Raises `BimetalError`."""
        known = {**self._all()}
        known.pop(name, None)
        if description:
            known[name] = description
        if known != self._all():
            write_whole(self._place, json.dumps(known))

    def _all(self) -> Mapping[str, str]:
        with suppress(OSError, ValueError, RecursionError), open(self._place, "rb") as file:
            if os.fstat(file.fileno()).st_size <= LIMIT:
                found = json.loads(file.read())
                if isinstance(found, dict):
                    return {str(name): str(text) for name, text in found.items()}
        return {}
