"""Make a Debian root file system for a guest, on a disk image or in a folder.

    python -m tools.debian_root ROOT.img
    bimetal run debian-riscv64 --disk ROOT.img --append bmroot=/dev/vda
    python -m tools.debian_root --arch arm64 --folder ROOT
    bimetal run debian-arm64 --share ROOT,tag=root --append bmroot=9p:root

Needs root, mmdebstrap, arch-test, e2fsprogs and, unless it is amd64, qemu-user-static with its
binfmt entry: the packages' own scripts run during installation. Log in as root, password bimetal.
Each network card gets its addresses from the network, by systemd-networkd.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import click

from bimetal import BimetalError
from bimetal.catalogue.apt import find_keyring, find_mirror
from bimetal.catalogue.folder import scratch_folder

__all__ = ["make_root", "make_root_folder", "missing_tools", "write_image"]

PROGRAMS = ("mmdebstrap", "arch-test", "mke2fs")
BINFMT = Path("/proc/sys/fs/binfmt_misc")
BINFMT_ENTRIES = Path("/usr/lib/binfmt.d")
EMULATORS = {"riscv64": "qemu-riscv64", "arm64": "qemu-aarch64"}
"""The binfmt entries by Debian's names of architectures: those of others than the host's."""
ARCHITECTURES = (*EMULATORS, "amd64")

PACKAGES = "systemd-sysv,udev,login,passwd,util-linux"
CUSTOMIZE = 'echo bimetal > "$1/etc/hostname"; echo root:bimetal | chroot "$1" chpasswd'
NETWORK = r"""
if [ -d "$1/etc/systemd/network" ]; then
    printf '[Match]\nType=ether\n[Network]\nDHCP=ipv4\n' > "$1/etc/systemd/network/80-all.network"
    systemctl --root="$1" --quiet enable systemd-networkd
    systemctl --root="$1" --quiet disable systemd-networkd-wait-online
fi"""


def missing_tools(arch: str) -> str:
    """What this host lacks to make a root file system, or nothing."""
    lacking = [name for name in PROGRAMS if shutil.which(name, path="/usr/sbin:/usr/bin") is None]
    entry = EMULATORS.get(arch)
    if entry and not ((BINFMT / entry).exists() or (BINFMT_ENTRIES / f"{entry}.conf").exists()):
        lacking.append("qemu-user-static with binfmt")
    return ", ".join(lacking)


def register_emulator(entry: str) -> None:
    """Have the kernel run the guest's programs by QEMU, where no service has done that."""
    if (BINFMT / entry).exists():
        return
    if not (BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)], check=True)
    (BINFMT / "register").write_bytes((BINFMT_ENTRIES / f"{entry}.conf").read_bytes().strip())


def install(root: Path, arch: str, suite: str, packages: str) -> None:
    """Install Debian into the folder ``root``, which is made."""
    if arch in EMULATORS:
        register_emulator(EMULATORS[arch])
    subprocess.run(
        [
            "mmdebstrap",
            "--quiet",
            f"--architectures={arch}",
            "--variant=minbase",
            f"--include={packages}",
            '--aptopt=Acquire::Check-Valid-Until "false"',
            f"--keyring={find_keyring()}",
            *(f"--customize-hook={hook}" for hook in (CUSTOMIZE, NETWORK)),
            suite,
            str(root),
            f"deb [arch={arch}] {find_mirror()} {suite} main",
        ],
        check=True,
    )


def make_root(
    image: Path, arch: str, suite: str = "trixie", size: str = "1G", packages: str = PACKAGES
) -> None:
    """Write the image with ``packages`` besides the essential ones.

    Raises subprocess.CalledProcessError if a program fails.
    """
    with scratch_folder(image) as scratch:
        install(scratch / "root", arch, suite, packages)
        write_image(image, scratch / "root", size)


def write_image(image: Path, root: Path, size: str = "1G") -> None:
    """Write an image with the files in the folder ``root``.

    Raises subprocess.CalledProcessError if they do not fit into ``size``.
    """
    with scratch_folder(image) as scratch:
        fresh = scratch / "root.img"
        subprocess.run(
            ["mke2fs", "-q", "-t", "ext4", "-d", str(root), str(fresh), size], check=True
        )
        fresh.replace(image)


def make_root_folder(
    folder: Path, arch: str, suite: str = "trixie", packages: str = PACKAGES
) -> None:
    """As `make_root`, into a folder, which must not be there."""
    with scratch_folder(folder) as scratch:
        install(scratch / "root", arch, suite, packages)
        (scratch / "root").rename(folder)


@click.command()
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--arch", type=click.Choice(ARCHITECTURES), default="riscv64", show_default=True)
@click.option("--suite", default="trixie", show_default=True)
@click.option("--size", default="1G", show_default=True)
@click.option("--include", default=PACKAGES, show_default=True, help="Packages, with commas.")
@click.option("--folder", is_flag=True, help="Make a folder, to be shared, not an image.")
def main(root: Path, arch: str, suite: str, size: str, include: str, folder: bool) -> None:
    """Make a Debian root file system on the raw image ROOT, or in the new folder ROOT."""
    if folder and root.exists():
        raise click.ClickException(f"{root} is there already")
    if lacking := missing_tools(arch):
        raise click.ClickException(f"this host lacks {lacking}")
    try:
        if folder:
            make_root_folder(root, arch, suite, include)
        else:
            make_root(root, arch, suite, size, include)
    except BimetalError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
