"""The options of new images, by the names that qemu-img has for them."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from bimetal.backends.block.formats import QCOW2, RAW
from bimetal.backends.block.qcow2.create import NewImage
from bimetal.backends.block.qcow2.header import ZLIB, ZSTD
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.sizes import parse_size

__all__ = ["WRITTEN", "Options", "Value", "check_written"]

Value = str | int | bool

WRITTEN = (RAW, QCOW2)
"""Formats that are written."""

PREALLOCATIONS = ("off", "metadata", "falloc", "full")
VERSIONS = {"0.10": 2, "v2": 2, "2": 2, "1.1": 3, "v3": 3, "3": 3}
COMPRESSIONS = {"zlib": ZLIB, "zstd": ZSTD}
SWITCHES = {"on": True, "off": False, "true": True, "false": False, "yes": True, "no": False}


def check_written(format: str) -> None:
    """Raise `BimetalError` for a format that is not written."""
    if format not in WRITTEN:
        raise BimetalError(
            f"images of the format {format!r} are not made here",
            f"choose from {', '.join(WRITTEN)}; qemu-img convert makes others of those",
            ExitCode.USAGE,
        )


class Options(Struct, frozen=True):
    """The options of a new image, checked; None where nothing is said."""

    size: int | None = None
    compat: int = 3
    cluster_size: int | None = None
    refcount_bits: int = 16
    lazy_refcounts: bool = False
    extended_l2: bool = False
    compression_type: int = ZLIB
    preallocation: str = "off"
    backing_file: str | None = None
    backing_fmt: str | None = None
    data_file: str | None = None
    data_file_raw: bool = False

    @classmethod
    def read(cls, format: str, given: Mapping[str, Value]) -> Options:
        """The options of an image of ``format``. Raises `BimetalError` for what is none, or has
        such a value."""
        check_written(format)
        known = ("size", "preallocation") if format == RAW else cls.__struct_fields__
        values: dict[str, object] = {}
        for name, value in given.items():
            if name in ("encryption", "encrypt.format") and format == QCOW2:
                raise BimetalError(
                    "encrypted images are neither made nor read here",
                    "have the guest encrypt its disk, which needs no option",
                    ExitCode.USAGE,
                )
            if name not in known:
                raise _wrong(f"images of the format {format} have no option {name!r}", known)
            values[name] = _value(name, value)
        return cls(**values)  # type: ignore[arg-type]  # of the types just made

    def new_image(self, size: int) -> NewImage:
        """What a qcow2 image with these options is."""
        return NewImage(
            size,
            self.compat,
            self.cluster_size or NewImage(size).cluster,
            self.refcount_bits,
            self.lazy_refcounts,
            self.extended_l2,
            self.compression_type,
            self.backing_file,
            self.backing_fmt,
            self.data_file,
            self.data_file_raw,
        )


def _value(name: str, value: Value) -> object:
    text = str(value)
    match name:
        case "size" | "cluster_size":
            return parse_size(value)
        case "compat":
            return _one_of(name, text, VERSIONS)
        case "compression_type":
            return _one_of(name, text, COMPRESSIONS)
        case "refcount_bits":
            if not text.isdecimal():
                raise _wrong(f"refcount_bits={text} is no number", ("refcount_bits=16",))
            return int(text)
        case "lazy_refcounts" | "extended_l2" | "data_file_raw":
            return value if isinstance(value, bool) else _one_of(name, text, SWITCHES)
        case "preallocation":
            return _one_of(name, text, {kind: kind for kind in PREALLOCATIONS})
    return text


def _one_of(name: str, text: str, choice: Mapping[str, object]) -> object:
    if text not in choice:
        raise _wrong(f"there is no {name}={text}", choice)
    return choice[text]


def _wrong(cause: str, choice: object) -> BimetalError:
    names = ", ".join(map(str, choice))  # type: ignore[call-overload]  # of names
    return BimetalError(cause, f"choose from {names}", ExitCode.USAGE)
