"""The options that boards share, and the values of each, the usual one first."""

from __future__ import annotations

__all__ = ["AIA", "BUS", "MMIO_VERSIONS", "PORTS"]

BUS = ("mmio", "pci")
"""``bus``: where virtio devices are."""

MMIO_VERSIONS = {
    "modern": "bimetal.devices.virtio.mmio:VirtioMmio",
    "legacy": "bimetal.devices.virtio.mmio_legacy:VirtioMmioLegacy",
}
"""``virtio-mmio``: which version its slots speak, and what does."""

PORTS = tuple(str(number) for number in range(9))
"""``ports``: how many slots there are for hot plug."""

AIA = ("none", "aplic", "aplic-imsic")
"""``aia``: which interrupt controller."""
