"""Media that systems are installed from: which processors they start, and the kernel in them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from configparser import Error as ConfigError
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from bimetal.backends.fetching import fetch, is_url
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.control.installing.words import refused

__all__ = ["architecture_of", "image_library", "inject", "kernel_in"]

LOADERS = {
    "BOOTX64.EFI": "x86_64",
    "BOOTAA64.EFI": "aarch64",
    "BOOTRISCV64.EFI": "riscv64",
}
"""What UEFI starts from media (UEFI 2.10, 3.5.1.1)."""

EFI = ("EFI", "BOOT")
KERNELS = ("linux", "vmlinuz", "vmlinux", "image")
INITRDS = ("initrd.gz", "initrd", "initrd.img", "initrd.zst", "initrd.lz")
FILES_LIMIT = 20000
DESCRIPTION = ".treeinfo"
DESCRIPTION_LIMIT, IMAGE_LIMIT = 1 << 16, 1 << 30

PLACES = (
    "",
    "current/images/netboot/debian-installer/{name}/",
    "current/legacy-images/netboot/ubuntu-installer/{name}/",
    "images/netboot/debian-installer/{name}/",
    "netboot/debian-installer/{name}/",
    "debian-installer/{name}/",
    "images/pxeboot/",
    "casper/",
)
"""Where installers have their kernel, below the address of a tree."""

USUAL_PAIRS = (("linux", "initrd.gz"), ("vmlinuz", "initrd.img"), ("vmlinuz", "initrd"))
DEBIAN_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}
"""What Debian calls processors that it calls otherwise."""


def image_library() -> Any:
    """The class of pycdlib that reads and writes images of CD-ROMs. Raises `BimetalError`."""
    try:
        return late("pycdlib:PyCdlib")
    except ImportError as error:
        raise BimetalError(
            "the library that reads and makes images of CD-ROMs is not installed",
            "pip install 'bimetal[install]'",
            ExitCode.UNAVAILABLE,
        ) from error


def architecture_of(image: str) -> str:
    """The processor that the media in ``image`` start, as ``uname -m`` calls it; "" if they do not
    say, or start several."""
    found = set[str]()
    with suppress(BimetalError), _opened(image) as tree:
        for path in tree:
            place = PurePosixPath(path)
            if tuple(each.upper() for each in place.parts[-3:-1]) == EFI:
                found.add(LOADERS.get(place.name.upper().partition(";")[0], ""))
    found.discard("")
    return found.pop() if len(found) == 1 else ""


def kernel_in(location: str, folder: Path, isa: str) -> tuple[str, str]:
    """The paths of kernel and initrd of the installer at ``location``: a folder; the image of a
    CD-ROM, from which they are copied into ``folder``; or the address of a distribution's tree, for
    the processor ``isa``, from where they are fetched. Raises `BimetalError`."""
    if is_url(location):
        return _fetched(location, isa, folder)
    if "://" in location:
        raise refused(f"nothing is fetched from {location[:80]}", "write http:// or https://")
    with _opened(location) as tree:
        kernel, initrd = _pair(tree)
        if os.path.isdir(location):
            return tree[kernel], tree[initrd]
        paths = (str(folder / "kernel"), str(folder / "initrd"))
        folder.mkdir(parents=True, exist_ok=True)
        for inside, path in zip((kernel, initrd), paths, strict=True):
            with open(path, "wb") as file, tree.open(inside) as content:
                shutil.copyfileobj(content, file)
        return paths


def inject(initrd: str, files: Mapping[str, bytes], folder: Path) -> str:
    """The path of an initrd in ``folder``, for the user alone, that has ``files`` in its root
    besides: what Linux unpacks may be several archives, one behind the other, each at a multiple of
    four bytes (Documentation/driver-api/early-userspace/buffer-format.rst). Raises
    `BimetalError`."""
    archive = late("bimetal.catalogue.newc:Archive")()
    for name, content in files.items():
        archive.file(name, content, 0o600)
    path = folder / "initrd.injected"
    try:
        late("bimetal.base.folders:make_private")(folder)
        path.unlink(missing_ok=True)
        path.touch(0o600)
        with path.open("wb") as target, open(initrd, "rb") as source:
            shutil.copyfileobj(source, target)
            target.write(bytes(-target.tell() % 4))
            target.write(archive.to_bytes())
    except OSError as error:
        raise BimetalError(
            f"{path} cannot be written: {error.strerror}", "make room there", ExitCode.IO_ERROR
        ) from error
    return os.fspath(path)


def _fetched(location: str, isa: str, folder: Path) -> tuple[str, str]:
    """Kernel and initrd from a tree on a server: those that it describes, or those in one of the
    places where distributions have them."""
    folder.mkdir(parents=True, exist_ok=True)
    root = location.rstrip("/")
    description = folder / "treeinfo"
    pairs = list[tuple[str, str]]()
    if fetch(f"{root}/{DESCRIPTION}", str(description), DESCRIPTION_LIMIT):
        described = _images_in(description.read_text(errors="replace"))
        pairs += [described] if described else []
    for place in PLACES:
        inside = place.format(name=DEBIAN_NAMES.get(isa, isa))
        pairs += [(f"{inside}{kernel}", f"{inside}{initrd}") for kernel, initrd in USUAL_PAIRS]
    paths = str(folder / "kernel"), str(folder / "initrd")
    for pair in pairs:
        if all(
            fetch(f"{root}/{each}", path, IMAGE_LIMIT)
            for each, path in zip(pair, paths, strict=True)
        ):
            return paths
    raise refused(
        f"there is no installer of a kind that is known at {location[:200]}",
        "give the address of Debian's dists/SUITE/main/installer-ARCH, of a tree with .treeinfo, "
        "or of a folder with linux and initrd.gz",
    )


class _Tree(dict[str, str]):
    """The files of an installer: their paths in it, and where they are."""

    def open(self, path: str) -> Any:
        return open(self[path], "rb")


class _ImageTree(_Tree):
    """The same in the image of a CD-ROM."""

    def __init__(self, image: Any, key: str):
        self._image, self._key = image, key
        super().__init__()
        for folder, _, names in image.walk(**{key: "/"}):
            for name in names:
                path = f"{folder.rstrip('/')}/{name}"
                self[path] = path
                if len(self) >= FILES_LIMIT:
                    return

    def open(self, path: str) -> Any:
        return self._image.open_file_from_iso(**{self._key: path})


@contextmanager
def _opened(location: str) -> Iterator[_Tree]:
    """The files of a folder or an image. Raises `BimetalError`."""
    if os.path.isdir(location):
        found = _Tree()
        for folder, _, names in os.walk(location):
            for name in names[: FILES_LIMIT - len(found)]:
                path = os.path.join(folder, name)
                found["/" + os.path.relpath(path, location)] = path
        yield found
        return
    image = image_library()()
    try:
        image.open(location)
    except Exception as error:  # damaged images end in exceptions of many kinds there
        raise BimetalError(
            f"{location} is neither a folder nor the image of a CD-ROM: {error}"[:300],
            "name one",
            ExitCode.NO_INPUT,
        ) from error
    try:
        key = "joliet_path" if image.has_joliet() else "rr_path" if image.has_rock_ridge() else (
            "iso_path"
        )  # fmt: skip
        yield _ImageTree(image, key)
    finally:
        image.close()


def _pair(tree: _Tree) -> tuple[str, str]:
    """Kernel and initrd: those that the tree describes, or else those beside each other that lie
    least deep. Raises `BimetalError`."""
    described = _described(tree)
    if described is not None:
        return described
    found = []
    for path in tree:
        place = PurePosixPath(path)
        if place.name.lower().partition(";")[0].rstrip(".") in KERNELS:
            for name in INITRDS:
                beside = str(place.with_name(name))
                if beside in tree:
                    found.append((len(place.parts), "gtk" in path, path, beside))
                    break
    if not found:
        raise refused(
            "no kernel with an initrd beside it is in what the installer is to start from",
            "name them: --boot kernel=...,initrd=...",
        )
    return min(found)[2:]


def _described(tree: _Tree) -> tuple[str, str] | None:
    """What the description of a tree of Fedora or RHEL says (productmd, "treeinfo")."""
    path = f"/{DESCRIPTION}"
    if path not in tree:
        return None
    with suppress(OSError), tree.open(path) as file:
        pair = _images_in(file.read(DESCRIPTION_LIMIT).decode(errors="replace"))
        if pair is not None and {f"/{each}" for each in pair} <= {*tree}:
            return f"/{pair[0]}", f"/{pair[1]}"
    return None


def _images_in(description: str) -> tuple[str, str] | None:
    """The paths of kernel and initrd in the text of a description; None if it names none."""
    parser = ConfigParser(interpolation=None)
    with suppress(ConfigError):
        parser.read_string(description)
        for section in parser.sections():
            if section.startswith("images-") and {"kernel", "initrd"} <= {*parser[section]}:
                return parser[section]["kernel"], parser[section]["initrd"]
    return None
