"""What libvirt's format has no words for, in the element ``<metadata>``, where anybody may add to
it: ``<bimetal:machine accel="auto" board="riscv-virt,ports=2"/>``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bimetal.control.definition import NicPart
from bimetal.control.domain_xml.parsing import Element, attribute, refused

__all__ = ["NAMESPACE", "OWN", "read_own"]

NAMESPACE = "urn:bimetal:machine:1"

OWN = ("accel", "board", "cpu_model", "sandbox")
"""Values of a definition that are said there as they are."""


def read_own(element: Element | None) -> Mapping[str, Any]:
    """The values of a definition that our own element says. Raises `BimetalError`."""
    if element is None:
        return {}
    values: dict[str, Any] = {}
    for name, value in element.attrib.items():
        if name not in OWN:
            raise refused(element, f"there is no attribute {name[:60]!r}")
        values[name] = str(value)
    nics = []
    for child in element:
        if child.tag != f"{{{NAMESPACE}}}nic":
            raise refused(child, "there is no such element")
        nics.append(NicPart(attribute(child, "network"), str(child.get("mac", ""))))
    if nics:
        values["nics"] = tuple(nics)
    return values
