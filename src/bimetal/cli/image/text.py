"""What is said of images, as words for programs and as text for people: qemu-img's."""

from __future__ import annotations

from collections.abc import Iterator
from math import frexp
from typing import Any

from bimetal import images
from bimetal.images import local_text

__all__ = [
    "check_text",
    "check_words",
    "extent_words",
    "extents_text",
    "information_text",
    "information_words",
    "snapshots_text",
]

PREFIXES = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")


def information_words(image: images.Information) -> dict[str, Any]:
    """What an image says of itself."""
    words: dict[str, Any] = {
        "virtual-size": image.size,
        "filename": image.path,
        "format": image.format,
        "actual-size": image.space,
        "dirty-flag": image.dirty,
    }
    if image.cluster is not None:
        words["cluster-size"] = image.cluster
    if image.backing is not None:
        words["backing-filename"] = image.backing
        words["full-backing-filename"] = image.backing_path
        if image.backing_format is not None:
            words["backing-filename-format"] = image.backing_format
    if image.snapshots:
        words["snapshots"] = [_snapshot_words(snapshot) for snapshot in image.snapshots]
    if image.qcow2 is not None:
        words["format-specific"] = {"type": "qcow2", "data": _qcow2_words(image.qcow2)}
    return words


def _snapshot_words(snapshot: images.Snapshot) -> dict[str, Any]:
    clock, nanoseconds = divmod(snapshot.clock, 10**9)
    words: dict[str, Any] = {
        "id": snapshot.identity,
        "name": snapshot.name,
        "vm-state-size": snapshot.state_size,
        "date-sec": snapshot.seconds,
        "date-nsec": snapshot.nanoseconds,
        "vm-clock-sec": clock,
        "vm-clock-nsec": nanoseconds,
    }
    if snapshot.is_counted:
        words["icount"] = snapshot.instructions
    return words


def _qcow2_words(own: images.Qcow2Information) -> dict[str, Any]:
    words: dict[str, Any] = {"compat": own.compat, "compression-type": own.compression}
    words["refcount-bits"] = own.reference_bits
    if own.compat == "0.10":
        return words
    words["lazy-refcounts"], words["corrupt"] = own.lazy, own.corrupt
    words["extended-l2"] = own.extended
    if own.data_file is not None:
        words["data-file"], words["data-file-raw"] = own.data_file, own.raw_data
    if own.bitmaps:
        words["bitmaps"] = [
            {"name": each.name, "granularity": each.granularity, "flags": list(each.flags)}
            for each in own.bitmaps
        ]
    return words


def information_text(image: images.Information) -> str:
    """What an image says of itself, line by line."""
    lines = [
        f"image: {image.path}",
        f"file format: {image.format}",
        f"virtual size: {_size(image.size)} ({image.size} bytes)",
        f"disk size: {_size(image.space)}",
    ]
    if image.dirty:
        lines.append("cleanly shut down: no")
    if image.cluster is not None:
        lines.append(f"cluster_size: {image.cluster}")
    if image.backing is not None:
        actual = f" (actual path: {image.backing_path})"
        lines.append(
            f"backing file: {image.backing}{actual * (image.backing_path != image.backing)}"
        )
        if image.backing_format is not None:
            lines.append(f"backing file format: {image.backing_format}")
    text = "\n".join(lines) + "\n"
    if image.snapshots:
        text += snapshots_text(image.snapshots)
    if image.qcow2 is not None:
        text += "Format specific information:\n"
        text += "".join(f"{line}\n" for line in _specific(_qcow2_words(image.qcow2), 1))
    return text


def _specific(words: dict[str, Any], depth: int) -> Iterator[str]:
    for name, value in words.items():
        label = "    " * depth + name.replace("-", " ") + ":"
        if isinstance(value, list):
            yield label
            for number, item in enumerate(value):
                yield "    " * (depth + 1) + f"[{number}]:"
                if isinstance(item, dict):
                    yield from _specific(item, depth + 2)
                else:
                    yield "    " * (depth + 2) + str(item)
        elif isinstance(value, bool):
            yield f"{label} {str(value).lower()}"
        else:
            yield f"{label} {value}"


def snapshots_text(snapshots: list[images.Snapshot]) -> str:
    """A table of snapshots."""
    form = "{:<10}{:<17}{:>8}{:>20}{:>13}{:>11}\n"
    text = "Snapshot list:\n"
    text += form.format("ID", "TAG", "VM SIZE", "DATE", "VM CLOCK", "ICOUNT")
    for each in snapshots:
        milliseconds = each.clock // 10**6
        minutes, seconds = divmod(milliseconds // 1000, 60)
        clock = f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}.{milliseconds % 1000:03}"
        count = str(each.instructions) if each.is_counted else ""
        text += (
            form.format(
                each.identity,
                each.name,
                _size(each.state_size),
                local_text(each.seconds),
                clock,
                count,
            ).rstrip()
            + "\n"
        )
    return text


def check_words(check: images.Check) -> dict[str, Any]:
    """What a check found. As in qemu-img, zeroes are left out."""
    found = check.findings
    words: dict[str, Any] = {
        "image-end-offset": found.end,
        "total-clusters": found.total,
        "corruptions": found.corruptions,
        "corruptions-fixed": check.corruptions_fixed,
        "leaks": found.leaks,
        "leaks-fixed": check.leaks_fixed,
        "allocated-clusters": found.allocated,
        "fragmented-clusters": found.fragmented,
        "compressed-clusters": found.compressed,
    }
    words = {name: number for name, number in words.items() if number}
    return words | {
        "check-errors": found.errors,
        "filename": check.path,
        "format": check.format,
    }


def check_text(check: images.Check) -> str:
    """What a check found, for people."""
    found, lines = check.findings, []
    if check.leaks_fixed or check.corruptions_fixed:
        lines += [
            "The following inconsistencies were found and repaired:",
            "",
            f"    {check.leaks_fixed} leaked clusters",
            f"    {check.corruptions_fixed} corruptions",
            "",
        ]
    if not (found.corruptions or found.leaks or found.errors):
        lines.append("No errors were found on the image.")
    if found.corruptions:
        lines += [
            "",
            f"{found.corruptions} errors were found on the image.",
            "Data may be corrupted, or further writes to the image may corrupt it.",
        ]
    if found.leaks:
        lines += [
            "",
            f"{found.leaks} leaked clusters were found on the image.",
            "This means waste of disk space, but no harm to data.",
        ]
    if found.errors:
        lines += ["", f"{found.errors} internal errors have occurred during the check."]
    if found.total and found.allocated:
        lines.append(
            f"{found.allocated}/{found.total} = {100 * found.allocated / found.total:.2f}% "
            f"allocated, {100 * found.fragmented / found.allocated:.2f}% fragmented, "
            f"{100 * found.compressed / found.allocated:.2f}% compressed clusters"
        )
    if found.end:
        lines.append(f"Image end offset: {found.end}")
    return "\n".join(lines)


def extent_words(extent: images.Extent) -> dict[str, Any]:
    """A part of a disk."""
    words: dict[str, Any] = {
        "start": extent.start,
        "length": extent.length,
        "depth": extent.depth,
        "present": extent.present,
        "zero": extent.zero,
        "data": extent.data,
    }
    if extent.offset is not None:
        words["offset"] = extent.offset
    return words


def extents_text(extents: list[images.Extent]) -> str:
    """The parts of a disk that are data, in a table."""
    form = "{:<16}{:<16}{:<16}{}\n"
    text = form.format("Offset", "Length", "Mapped to", "File")
    for extent in extents:
        if extent.data and not extent.zero:
            place = "compressed" if extent.offset is None else _hex(extent.offset)
            text += form.format(_hex(extent.start), _hex(extent.length), place, extent.path)
    return text


def _hex(number: int) -> str:
    return hex(number) if number else "0"


def _size(size: int) -> str:
    """A size in three digits."""
    power = max(frexp(size / (1000 / 1024))[1] - 1, 0) // 10
    return f"{size / (1 << 10 * power):.3g} {PREFIXES[power]}B"
