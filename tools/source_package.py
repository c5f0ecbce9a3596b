"""Parts of Debian's source packages, for suites that are built beside this project.

They are fetched and verified by apt with a state of its own, from Debian 13; nothing of them is
part of the project, and what is built of them lands in the cache folder.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable
from pathlib import Path

from bimetal.catalogue import cache_folder
from bimetal.catalogue.apt import Apt, find_keyring, find_mirror
from bimetal.catalogue.folder import link_to, locked, scratch_folder
from bimetal.catalogue.progress import Progress, Silent

__all__ = ["fetch_source", "suite_folder"]

SUITE = "trixie"


class SourceApt(Apt):
    """The source packages of the suite."""

    def __init__(self, folder: Path):
        super().__init__(folder, find_mirror(), find_keyring(), SUITE, "amd64")
        sources = folder / "sources.list"
        line = sources.read_text().replace("deb ", "deb-src ", 1).replace(" arch=amd64]", "]")
        sources.write_text(line)

    def source(self, package: str, folder: Path, progress: Progress) -> Path:
        """Fetch the newest version of a package into ``folder``; its upstream archive."""
        words = ["source", "--download-only", "--only-source", package]
        self._get(words, folder, progress, f"the source of {package}")
        return next(path for path in folder.glob("*.orig.tar.*") if path.suffix != ".asc")


def suite_folder(name: str) -> Path:
    """Where the suite ``name`` lies: its sources, and what was built of them."""
    return cache_folder() / "suites" / name


def fetch_source(package: str, suite: str, parts: Iterable[str]) -> Path:
    """Those files of a source package that lie below ``parts``; from the cache, if they are there.

    Raises `BimetalError` if the package cannot be had.
    """
    home = suite_folder(suite)
    source = home / "source"
    with locked(home / "lock", lambda: None):
        if not source.exists():
            with scratch_folder(source) as scratch:
                state = cache_folder() / "apt" / f"{SUITE}-source"
                with locked(state.with_suffix(".lock"), lambda: None):
                    apt = SourceApt(state)
                    apt.update(Silent())
                    archive = apt.source(package, scratch, Silent())
                _unpack(archive, scratch / "unpacked", tuple(parts))
                name = archive.name.split(".orig.tar")[0]
                (scratch / "unpacked").rename(home / name)
                link_to(source, name)
    return source


def _unpack(archive: Path, folder: Path, parts: tuple[str, ...]) -> None:
    """Unpack the files of an archive below ``parts``, without the folder that all stand in."""
    with tarfile.open(archive) as tar:
        for member in tar:
            _, _, member.name = member.name.partition("/")
            if member.isreg() and member.name.startswith(parts):
                tar.extract(member, folder, filter="data")
