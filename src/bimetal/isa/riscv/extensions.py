"""The extensions that are described: what misa says of them, and device trees."""

from __future__ import annotations

__all__ = ["BUILT_ON", "EXTENSIONS", "FEATURES", "MISA"]

FEATURES = ("zba", "zbb", "zbc", "zbs", "zbkb", "zbkx", "zicond", "zfh")
"""Those that a model may lack."""

BUILT_ON = {"zbb": ("zbkb",)}
"""Those that have instructions in common with others, where these are described."""

EXTENSIONS = (
    *("i", "m", "a", "f", "d", "c"),
    *("zicbom", "zicboz", "zicntr", "zicond", "zicsr", "zifencei", "zihintpause"),
    "zfh",
    *("zba", "zbb", "zbc", "zbkb", "zbkx", "zbs", "sstc", "svadu", "svnapot"),
)
"""All of them, in the order of the ISA string (I 27.11)."""

RV64, MODES = 2 << 62, "su"
MISA = RV64 | sum(1 << ord(name) - ord("a") for name in (*EXTENSIONS, *MODES) if len(name) == 1)
"""MXL, the extensions of one letter, and the modes below M (II 3.1.1)."""
