"""The guest catalogue: named guests, made of Debian packages, ready in the cache.

`fetch` takes a guest by name, downloads and verifies its packages through the mirror that this
host's apt is set to, makes kernel and initial file system of them, and remembers the result.
"""

from __future__ import annotations

from bimetal.base.folders import cache_folder
from bimetal.catalogue.guests import GUESTS, Guest
from bimetal.catalogue.payload import Payload, cached, fetch
from bimetal.catalogue.progress import Progress, Silent

__all__ = [
    "GUESTS",
    "Guest",
    "Payload",
    "Progress",
    "Silent",
    "cache_folder",
    "cached",
    "fetch",
]
