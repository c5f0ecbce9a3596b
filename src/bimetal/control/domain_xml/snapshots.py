"""States that disks keep, as libvirt's XML (formatsnapshot)."""

from __future__ import annotations

from collections.abc import Sequence

from lxml import etree

from bimetal.control.domain_xml.writing import document

__all__ = ["snapshot_xml"]


def snapshot_xml(
    name: str, description: str, seconds: int, disks: Sequence[str], *, with_memory: bool
) -> str:
    """The document of a state that was made at that second since 1970, and lies in the ``disks`` of
    these targets, perhaps ``with_memory``."""
    root = etree.Element("domainsnapshot")
    texts = {
        "name": name,
        "description": description,
        "state": "running" if with_memory else "shutoff",
        "creationTime": str(seconds),
    }
    for tag, text in texts.items():
        if text:
            etree.SubElement(root, tag).text = text
    etree.SubElement(root, "memory", snapshot="internal" if with_memory else "no")
    kept = etree.SubElement(root, "disks")
    for target in disks:
        etree.SubElement(kept, "disk", name=target, snapshot="internal")
    return document(root)
