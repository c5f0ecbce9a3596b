"""Programs of Debian's that try a processor hard do on ours what they do on the host's own.

pytest -m slow tests/boot/test_amd64_programs.py

Python's own tests, OpenSSL's algorithms, and work for the compilers of node and Java run in a
Debian with systemd, and in the same Debian's files on the host (chroot(2)). They print the same.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from bimetal import Machine
from tests.boot.conftest import Fetch, compile_x86
from tests.boot.debian import Debian, programs_root, programs_root_image
from tools.debian_root import write_image

pytestmark = [pytest.mark.boot, pytest.mark.slow, pytest.mark.programs("unshare")]

FOLDER = Path(__file__).with_name("programs") / "debian"
LIMIT = 3600
"""Seconds for a program, on a slow and busy host: beside other work on two processors Python's
tests took more than twenty minutes on four vCPUs, OpenSSL's list three, Java five and more."""

PYTHON = (
    *("test_math", "test_cmath", "test_float", "test_complex", "test_long", "test_struct"),
    *("test_hashlib", "test_hmac", "test_thread", "test_threading", "test_threading_local"),
    "test_queue",
)
PROGRAMS = {
    "python": f"python3 outcomes.py {' '.join(PYTHON)} 2>/dev/null",
    "openssl": "sh ciphers.sh",
    "node": "node compiled.js",
    "java": "java Compiled.java",
}
LEAST = {"python": 800, "openssl": 90, "node": 21, "java": 20}
"""How many lines each prints at least."""

CHROOT = """\
mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && mount --bind "$2" "$1/mnt" &&
exec chroot "$1" sh -c "cd /mnt; $3"
"""


@cache
def on_the_host(program: str) -> str:
    """What a program prints there; what is mounted for it ends with it."""
    words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", CHROOT, "-"]
    words += [str(programs_root("amd64")), str(FOLDER), PROGRAMS[program]]
    done = subprocess.run(words, stdout=subprocess.PIPE, timeout=LIMIT, check=True, text=True)
    return done.stdout.removesuffix("\n")


@pytest.fixture(scope="module", params=[1, 4])
def guest(
    request: pytest.FixtureRequest, fetched: Fetch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Debian]:
    """One, with the programs in its current folder, for all of them; it is powered off in order."""
    debian, disk = fetched("debian-amd64"), programs_root_image("amd64")
    programs = tmp_path_factory.mktemp("programs") / "programs.img"
    write_image(programs, FOLDER, "16M")
    compile_x86()
    with Machine(
        debian.board,
        memory="2G",
        cpus=request.param,
        kernel=debian.kernel,
        initrd=debian.initrd,
        append=f"{debian.append} quiet bmroot=/dev/vda systemd.show_status=0",
        accel="jit",
    ) as machine:
        machine.disk(disk, snapshot=True)
        machine.disk(programs, snapshot=True)
        vm = Debian(machine)
        vm.do("mount /dev/vdb /mnt && cd /mnt")
        assert vm.do("nproc") == str(request.param)
        yield vm
        vm.power_off(machine)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_prints_what_it_prints_on_the_host(guest: Debian, program: str) -> None:
    there = on_the_host(program)
    assert len(there.splitlines()) >= LEAST[program]
    assert guest.do(PROGRAMS[program], limit=LIMIT).splitlines() == there.splitlines()
