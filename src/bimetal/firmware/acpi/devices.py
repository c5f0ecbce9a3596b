"""Devices as the DSDT tells of them (chapter 6)."""

from __future__ import annotations

from msgspec import Struct

from bimetal.firmware.acpi import aml
from bimetal.firmware.acpi.table import Table

__all__ = ["DEVICE_TREE_HID", "AcpiDevice", "differentiated_description"]

DEVICE_TREE_HID = "PRP0001"
"""The identifier of devices that have none but their names in device trees: Linux kernel,
Documentation/firmware-guide/acpi/enumeration.rst, "Device Tree namespace link device ID"."""
PROPERTIES = "daffd814-6eba-4d8c-8a91-bc9bbf4aa301"
"""What follows in ``_DSD`` are names and values ("_DSD Implementation Guide", chapter 3)."""


class AcpiDevice(Struct, frozen=True):
    """A device in the DSDT: its name (four characters), identifier, number and resources.

    One that ACPI has no identifier for is `DEVICE_TREE_HID`, and ``compatible`` what a device tree
    would call it. ``more`` are terms besides these.
    """

    name: str
    hid: str
    uid: int
    resources: tuple[bytes, ...] = ()
    compatible: str = ""
    more: tuple[bytes, ...] = ()

    def aml(self) -> bytes:
        """Its ``Device`` term. Identifiers of seven characters are compressed EISA ones."""
        hid = aml.eisa_id(self.hid) if len(self.hid) == 7 else aml.string(self.hid)
        return aml.device(
            self.name,
            aml.name("_HID", hid),
            aml.name("_UID", aml.integer(self.uid)),
            *self._resources(),
            *self._properties(),
            *self.more,
        )

    def _resources(self) -> tuple[bytes, ...]:
        """Its resources (6.2.2); its accesses to memory see what caches hold (6.2.17)."""
        if not self.resources:
            return ()
        return (
            aml.name("_CCA", aml.integer(1)),
            aml.name("_CRS", aml.resources(*self.resources)),
        )

    def _properties(self) -> tuple[bytes, ...]:
        """The device's properties (6.2.5), if it has any."""
        if not self.compatible:
            return ()
        compatible = aml.package(aml.string("compatible"), aml.string(self.compatible))
        return (aml.name("_DSD", aml.package(aml.uuid(PROPERTIES), aml.package(compatible))),)


def differentiated_description(devices: list[AcpiDevice], *more: bytes) -> Table:
    """The DSDT: all devices on the system's bus, and what else there is."""
    bus = aml.scope("\\_SB", *(device.aml() for device in devices))
    return Table("DSDT", 2, bus + b"".join(more))
