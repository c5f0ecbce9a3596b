"""The host's processor, as the kernel describes it: what native code may use, and is kept for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

__all__ = ["host_has", "made_by", "processor"]

CPUINFO = Path("/proc/cpuinfo")
KIND = ("vendor_id", "cpu family", "model", "stepping", "flags")


@cache
def processor() -> Mapping[str, str]:
    """What makes code for this processor different from code for others; empty where the kernel
    does not say (proc(5))."""
    try:
        first = CPUINFO.read_text().partition("\n\n")[0]
    except OSError:
        return {}
    rows = (line.partition(":") for line in first.splitlines())
    told = {name.strip(): value.strip() for name, _, value in rows}
    return {name: told.get(name, "") for name in KIND}


@cache
def host_has(feature: str) -> bool:
    """Whether the host's processor has a feature, by the kernel's name for it."""
    return feature in processor().get("flags", "").split()


def made_by(maker: str) -> bool:
    """Whether the host's processor is a maker's, by the name that CPUID gives it, such as
    ``GenuineIntel`` or ``AuthenticAMD`` (SDM and APM volume 3, CPUID function 0)."""
    return processor().get("vendor_id") == maker
