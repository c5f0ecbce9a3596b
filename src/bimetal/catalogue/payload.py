"""A guest's files on this host: made once, kept in the cache, found again without the network."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.folders import cache_folder
from bimetal.base.late import LateModule
from bimetal.catalogue.folder import link_to, locked, remove_scratch, scratch_folder
from bimetal.catalogue.guests import GUESTS, FileOf, Guest
from bimetal.catalogue.initramfs import BusyboxInitramfs
from bimetal.catalogue.progress import Progress, Silent
from bimetal.catalogue.room import disk_errors
from bimetal.catalogue.versions import CURRENT, link_name, remove_unused, use

if TYPE_CHECKING:
    from bimetal.catalogue import apt, deb
else:
    apt = LateModule("bimetal.catalogue.apt")
    deb = LateModule("bimetal.catalogue.deb")

__all__ = ["Payload", "cached", "fetch"]

VERSIONED_KERNEL = re.compile(r"linux-(image|binary|modules)-\d")
"""What the package ``linux-image-ARCHITECTURE`` leads to: it names the current version."""

MANIFEST = "guest.json"
WAITING = "waiting for another process that fetches a guest"


@dataclass(frozen=True)
class Payload:
    """A guest's files, ready to be given to a machine."""

    guest: Guest
    kernel: Path | None
    initrd: Path | None
    bios: Path | None
    versions: dict[str, str]

    @property
    def board(self) -> str:
        """The board that the guest runs on."""
        return self.guest.board

    @property
    def append(self) -> str:
        """The kernel's command line."""
        return self.guest.append

    @property
    def takes_orders(self) -> bool:
        """Whether the guest's first process is ours, which reads words on the command line."""
        return isinstance(self.guest.files.get("initrd"), BusyboxInitramfs)

    @property
    def kernel_format(self) -> str:
        """``raw`` if the kernel has no header, else ``auto``."""
        return self.guest.kernel_format

    @property
    def memory(self) -> str:
        """The memory that the guest is comfortable with."""
        return self.guest.memory


def cached(guest: str | Guest) -> Payload | None:
    """The guest, which may be named, as it lies in the cache, or None if it is not there, not whole
    or outdated. Raises `BimetalError` if the catalogue has none of that name."""
    wanted = _named(guest)
    try:
        return _whole(wanted)
    except (OSError, LookupError, TypeError, ValueError, RecursionError):
        return None


def _whole(guest: Guest) -> Payload | None:
    """The guest in the cache; None if it is outdated.

    Every byte is hashed, at some 900 MB a second: nobody would look for a changed bit of a kernel
    in the cache. Raises OSError, or what reading a damaged manifest may raise.
    """
    folder = _link(guest).resolve(strict=True)
    use(folder)
    text = (folder / MANIFEST).read_bytes()
    # A copy that did not keep links has lost the name that the folder had.
    if not folder.name.startswith(CURRENT) and folder.name != _name(text):
        raise ValueError(f"{folder / MANIFEST} is damaged")
    manifest = json.loads(text)
    if manifest["recipe"] != guest.recipe:
        return None
    versions: dict[str, str] = dict(manifest["packages"])
    paths = {name: folder / name for name in guest.files}
    for name, path in paths.items():
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != manifest["files"][name]["sha256"]:
            raise ValueError(f"{path} is damaged")
    return Payload(guest, paths.get("kernel"), paths.get("initrd"), paths.get("bios"), versions)


def fetch(guest: str | Guest, progress: Progress | None = None, *, update: bool = False) -> Payload:
    """The files of the guest, which may be named: from the cache, or else from Debian's packages.

    With ``update`` the package lists are fetched even if the guest is there. Raises
    `BimetalError` if the catalogue does not have the guest or the packages cannot be had.
    """
    guest, progress = _named(guest), progress or Silent()
    payload = None if update else cached(guest)
    if payload is not None:
        return payload
    with disk_errors(), locked(_home(guest) / "lock", lambda: progress.step(WAITING)):
        payload = None if update else cached(guest)  # another process may have made it
        if payload is None:
            _make_anew(guest, progress, update)
            payload = cached(guest)
    if payload is None:
        raise BimetalError(
            f"the guest {guest.name} was made but cannot be found in {_home(guest)}",
            "see that nothing cleans the cache folder meanwhile, then try again",
        )
    return payload


def _named(guest: str | Guest) -> Guest:
    return GUESTS[guest] if isinstance(guest, str) else guest


def _home(guest: Guest) -> Path:
    return cache_folder() / "guests" / guest.name


def _link(guest: Guest) -> Path:
    return _home(guest) / link_name(guest.recipe)


def _make_anew(guest: Guest, progress: Progress, update: bool) -> None:
    """Make a guest, and say so if it was there and could not be used."""
    useless = not update and _link(guest).exists()
    if useless:
        progress.step(f"{guest.name} in the cache is outdated or damaged: it is made anew")
    try:
        _make(guest, progress)
    except BimetalError as error:
        if not useless:
            raise
        raise BimetalError(
            f"{guest.name} in the cache is outdated or damaged, and {error.cause}",
            error.remedy,
            error.exit_code,
        ) from error


def _make(guest: Guest, progress: Progress) -> None:
    """Fetch packages and make the files of a guest; its lock is held."""
    remove_scratch(_home(guest))
    with scratch_folder(_link(guest)) as scratch:
        tree, made = scratch / "tree", scratch / "made"
        made.mkdir()
        packages = _unpacked_packages(guest, tree, progress)
        progress.step("making kernel and initial file system")
        _make_files(guest, tree, made)
        _write_manifest(guest, packages, made)
        _install(guest, made)


def _unpacked_packages(guest: Guest, tree: Path, progress: Progress) -> list[apt.Package]:
    """Fetch the packages of a guest and unpack them into ``tree``."""
    state = cache_folder() / "apt" / f"{guest.suite}-{guest.architecture}"
    with locked(state.with_suffix(".lock"), lambda: progress.step(WAITING)):
        source = apt.Apt(
            state, apt.find_mirror(), apt.find_keyring(), guest.suite, guest.architecture
        )
        progress.step(f"reading Debian's package lists ({guest.suite}, {guest.architecture})")
        source.update(progress)
        packages = source.packages(guest.packages, VERSIONED_KERNEL)
        progress.step(f"fetching {len(packages)} packages for {guest.name}")
        files = source.download(packages, progress)
        progress.step("unpacking")
        for number, file in enumerate(files, start=1):
            deb.unpack(file, tree)
            progress.fraction(number / len(files))
        source.discard(files)
    return packages


def _make_files(guest: Guest, tree: Path, made: Path) -> None:
    for name, recipe in guest.files.items():
        if isinstance(recipe, FileOf):
            shutil.copyfile(_match(tree, recipe, guest), made / name)
        else:
            (made / name).write_bytes(recipe.make(tree))


def _match(tree: Path, recipe: FileOf, guest: Guest) -> Path:
    for pattern in recipe.patterns:
        if found := sorted(tree.glob(pattern)):
            return found[-1]
    raise BimetalError(
        f"the packages of {guest.name} hold no {' or '.join(recipe.patterns)}",
        "the packages have changed: give kernel and initial file system yourself",
        ExitCode.DATA,
    )


def _write_manifest(guest: Guest, packages: list[apt.Package], made: Path) -> None:
    files = {
        path.name: {
            "size": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted(made.iterdir())
    }
    manifest = {
        "guest": guest.name,
        "recipe": guest.recipe,
        "packages": {package.name: package.version for package in packages},
        "files": files,
    }
    (made / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def _name(manifest: bytes) -> str:
    """The name of the folder of a guest whose manifest reads so."""
    return hashlib.sha256(manifest).hexdigest()[:16]


def _install(guest: Guest, made: Path) -> None:
    """Move the folder under its final name, and have the link lead there."""
    home = _home(guest)
    digest = _name((made / MANIFEST).read_bytes())
    if (home / digest).exists():  # the same content, but damaged since, or fetched once more
        (home / digest).rename(made.parent / "replaced")
    made.rename(home / digest)
    link_to(_link(guest), digest)
    remove_unused(home, made.parent)
