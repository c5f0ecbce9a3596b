"""Make a disk image with a Debian root file system for a guest.

    python -m tools.debian_root ROOT.img
    bimetal run debian-riscv64 --disk ROOT.img --append bmroot=/dev/vda
    python -m tools.debian_root --arch arm64 ROOT.img

Needs root, mmdebstrap, arch-test, e2fsprogs and qemu-user-static with its binfmt entry: the
packages' own scripts run during installation. Log in as root, password bimetal.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import click

from bimetal import BimetalError
from bimetal.catalogue.apt import find_keyring, find_mirror
from bimetal.catalogue.folder import scratch_folder

__all__ = ["make_root", "missing_tools"]

PROGRAMS = ("mmdebstrap", "arch-test", "mke2fs")
BINFMT = Path("/proc/sys/fs/binfmt_misc")
BINFMT_ENTRIES = Path("/usr/lib/binfmt.d")
EMULATORS = {"riscv64": "qemu-riscv64", "arm64": "qemu-aarch64"}
"""The binfmt entries by Debian's names of architectures."""

PACKAGES = "systemd-sysv,udev,login,passwd,util-linux"
CUSTOMIZE = 'echo bimetal > "$1/etc/hostname"; echo root:bimetal | chroot "$1" chpasswd'


def missing_tools(arch: str) -> str:
    """What this host lacks to make a root file system, or nothing."""
    lacking = [name for name in PROGRAMS if shutil.which(name, path="/usr/sbin:/usr/bin") is None]
    entry = EMULATORS[arch]
    if not (BINFMT / entry).exists() and not (BINFMT_ENTRIES / f"{entry}.conf").exists():
        lacking.append("qemu-user-static with binfmt")
    return ", ".join(lacking)


def register_emulator(entry: str) -> None:
    """Have the kernel run the guest's programs by QEMU, where no service has done that."""
    if (BINFMT / entry).exists():
        return
    if not (BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)], check=True)
    (BINFMT / "register").write_bytes((BINFMT_ENTRIES / f"{entry}.conf").read_bytes().strip())


def make_root(
    image: Path, arch: str, suite: str = "trixie", size: str = "1G", packages: str = PACKAGES
) -> None:
    """Write the image with ``packages`` besides the essential ones.

    Raises subprocess.CalledProcessError if a program fails.
    """
    register_emulator(EMULATORS[arch])
    with scratch_folder(image) as scratch:
        root = scratch / "root"
        subprocess.run(
            [
                "mmdebstrap",
                "--quiet",
                f"--architectures={arch}",
                "--variant=minbase",
                f"--include={packages}",
                '--aptopt=Acquire::Check-Valid-Until "false"',
                f"--keyring={find_keyring()}",
                f"--customize-hook={CUSTOMIZE}",
                suite,
                str(root),
                f"deb [arch={arch}] {find_mirror()} {suite} main",
            ],
            check=True,
        )
        fresh = scratch / "root.img"
        subprocess.run(
            ["mke2fs", "-q", "-t", "ext4", "-d", str(root), str(fresh), size], check=True
        )
        fresh.replace(image)


@click.command()
@click.argument("image", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--arch", type=click.Choice([*EMULATORS]), default="riscv64", show_default=True)
@click.option("--suite", default="trixie", show_default=True)
@click.option("--size", default="1G", show_default=True)
@click.option("--include", default=PACKAGES, show_default=True, help="Packages, with commas.")
def main(image: Path, arch: str, suite: str, size: str, include: str) -> None:
    """Make a Debian root file system on the raw IMAGE."""
    if lacking := missing_tools(arch):
        raise click.ClickException(f"this host lacks {lacking}")
    try:
        make_root(image, arch, suite, size, include)
    except BimetalError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
