"""The Debian that the programs run in: the files of their packages on an image.

The packages are unpacked, and none of their scripts is run, so that it needs neither root nor an
emulator on the host; what the programs need of what such scripts do is made here.
"""

from __future__ import annotations

import hashlib
import inspect
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from bench.public.table import Program
from bimetal.catalogue import cache_folder
from bimetal.catalogue.apt import find_keyring, find_mirror
from bimetal.catalogue.folder import locked, scratch_folder
from tools.debian_root import write_image

__all__ = ["lacking", "packages_of", "root_image"]

SUITE = "trixie"
ESSENTIAL = (
    *("base-files", "bash", "coreutils", "dash", "diffutils", "findutils", "grep", "mawk"),
    *("sed", "tar", "util-linux"),
)
EXCLUDED = ("/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/man/*")
SIZE = "4G"
TOOLS = ("mmdebstrap", "mke2fs")

PASSWD = "root:x:0:0::/root:/bin/bash\nbench:x:1000:1000::/tmp:/bin/bash\n"
GROUP = "root:x:0:\nbench:x:1000:\n"
TEXT = 64 << 20
"""Bytes of text for those programs that are given one: sources of Go, Perl and Python."""


def lacking() -> str:
    """What this host lacks to make the image, or nothing."""
    return ", ".join(
        name for name in TOOLS if shutil.which(name, path="/usr/sbin:/usr/bin") is None
    )


def packages_of(programs: Iterable[Program]) -> list[str]:
    """The names of all packages, each once."""
    return sorted({*ESSENTIAL, *(name for program in programs for name in program.packages)})


def root_image(arch: str, programs: Iterable[Program]) -> Path:
    """The image, made once for these packages and kept in the cache; it is only to be read.

    Raises subprocess.CalledProcessError if a program fails, BimetalError without a mirror.
    """
    packages = packages_of(programs)
    made_of = [*packages, SUITE, SIZE, PASSWD, GROUP, str(TEXT), *EXCLUDED]
    made_of += [inspect.getsource(function) for function in (install, complete, text)]
    digest = hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:12]
    image = cache_folder() / "roots" / f"public-{arch}-{digest}.img"
    with locked(image.parent / f"public-{arch}.lock", lambda: None):
        if not image.exists():
            for old in image.parent.glob(f"public-{arch}-*.img"):
                old.unlink()
            make(image, arch, packages)
    return image


def make(image: Path, arch: str, packages: Iterable[str]) -> None:
    with scratch_folder(image) as scratch:
        root = scratch / "root"
        install(root, arch, packages)
        complete(root)
        write_image(image, root, SIZE)


def install(root: Path, arch: str, packages: Iterable[str]) -> None:
    """Unpack packages, with what they depend on, into the folder ``root``, which is made."""
    subprocess.run(
        [
            "mmdebstrap",
            "--quiet",
            "--mode=chrootless",
            "--variant=extract",
            "--skip=output/dev",
            f"--architectures={arch}",
            f"--include={','.join(packages)}",
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED),
            '--aptopt=Acquire::Check-Valid-Until "false"',
            '--aptopt=APT::Install-Recommends "false"',
            f"--keyring={find_keyring()}",
            SUITE,
            str(root),
            f"deb [arch={arch}] {find_mirror()} {SUITE} main",
        ],
        check=True,
    )


def complete(root: Path) -> None:
    """Make what the packages' scripts would, as far as it is needed, and what programs work on."""
    (root / "etc" / "passwd").write_text(PASSWD)
    (root / "etc" / "group").write_text(GROUP)
    for name in ("blas", "lapack"):  # alternatives, in Debian's words
        for library in root.glob(f"usr/lib/*/{name}/lib{name}.so.3"):
            (library.parent.parent / library.name).symlink_to(f"{name}/{library.name}")
    corpus = root / "corpus"
    corpus.mkdir()
    with (corpus / "text").open("wb") as file:
        for piece in text(root, TEXT):
            file.write(piece)
    sounds = sorted((root / "usr/share/sounds/alsa").glob("*_*.wav"))
    (corpus / "sound").write_bytes(b"".join(path.read_bytes()[44:] for path in sounds))


def text(root: Path, size: int) -> Iterator[bytes]:
    """So many bytes of the sources that are among the files, in the order of their names."""
    folders = ("usr/share/go-1.24/src", "usr/share/perl", "usr/lib/python3.13")
    left = size
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            if left and path.suffix in (".go", ".pm", ".py") and path.is_file():
                piece = path.read_bytes()[:left]
                left -= len(piece)
                yield piece
