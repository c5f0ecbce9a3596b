"""Programs of Linux, run one after another in a booted guest, here and under QEMU, or on the host.

They are put beside the guest's initial file system, in one more archive, so nothing is installed.
What each printed is told by digests.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import click

from bimetal import Machine, Payload, fetch_guest
from bimetal.catalogue.newc import Archive

__all__ = [
    "Latitude",
    "Outcome",
    "compare_in_guests",
    "compare_with_host",
    "differences",
    "run_here",
    "run_on_host",
    "run_on_qemu",
]

GUEST = "debian-arm64"
QEMU = "qemu-system-aarch64"
MEMORY_MIB = 1024
LIMIT = 1800
"""Seconds for a guest with all its programs."""

SCRIPT = """\
cd /suite/work
for each in /suite/programs/*; do
    timeout 100 "$each" >/suite/printed 2>/suite/complaints </dev/null
    code=$?
    set -- $(sha256sum /suite/printed; sort /suite/printed | sha256sum)
    echo "SUITE-RESULT ${each##*/} $code $1 $3"
    [ $code = 0 ] || tail -n 3 /suite/printed /suite/complaints
done
echo SUITE-END
"""
RESULT = re.compile(r"SUITE-RESULT (\S+) (\d+) ([0-9a-f]+) ([0-9a-f]+)")


@dataclass(frozen=True)
class Outcome:
    """How a program ended, and the digests of what it printed, and of the same in sorted lines."""

    code: int
    digest: str
    lines: str


Outcomes = Mapping[str, Outcome]


def _initrd(payload: Payload, programs: Mapping[str, Path], folder: Path) -> Path:
    assert payload.initrd is not None
    archive = Archive()
    for name in ("suite", "suite/programs", "suite/work"):
        archive.folder(name)
    archive.file("suite/run", SCRIPT.encode(), 0o755)
    for name, path in programs.items():
        archive.file(f"suite/programs/{name}", path.read_bytes(), 0o755)
    made = folder / "initrd"
    made.write_bytes(payload.initrd.read_bytes() + archive.to_bytes())
    return made


def _words(payload: Payload) -> str:
    return f'{payload.append} loglevel=3 bmrun="sh /suite/run"'


def _outcomes(printed: str, programs: Mapping[str, Path]) -> Outcomes:
    found = {name: Outcome(int(code), *digests) for name, code, *digests in RESULT.findall(printed)}
    if found.keys() != programs.keys() or "SUITE-END" not in printed:
        raise click.ClickException(f"the guest did not come to the end:\n{printed[-2000:]}")
    return found


def run_here(programs: Mapping[str, Path], accel: str, cpus: int, guest: str = GUEST) -> Outcomes:
    """Run them in a machine of ours."""
    payload = fetch_guest(guest)
    with tempfile.TemporaryDirectory() as scratch:
        initrd = _initrd(payload, programs, Path(scratch))
        with Machine(
            payload.board,
            memory=f"{MEMORY_MIB}M",
            cpus=cpus,
            kernel=payload.kernel,
            initrd=initrd,
            append=_words(payload),
            accel=accel,
        ) as vm:
            vm.start()
            vm.wait(LIMIT)
            return _outcomes(vm.console.log, programs)


def run_on_host(programs: Mapping[str, Path]) -> Outcomes:
    """Run them on the host, where the same is seen of them as in a guest."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        for name in ("programs", "work"):
            (home / name).mkdir()
        for name, path in programs.items():
            (home / "programs" / name).symlink_to(path.absolute())
        script = SCRIPT.replace("/suite/", f"{home}/")
        done = subprocess.run(
            ["sh", "-c", script], capture_output=True, timeout=LIMIT, check=True, cwd=home
        )
        return _outcomes(done.stdout.decode(errors="replace"), programs)


def run_on_qemu(programs: Mapping[str, Path], cpus: int) -> Outcomes:
    """Run them in the same guest under QEMU."""
    payload = fetch_guest(GUEST)
    with tempfile.TemporaryDirectory() as scratch:
        initrd = _initrd(payload, programs, Path(scratch))
        machine = f"-M virt -cpu max -m {MEMORY_MIB} -smp {cpus} -display none -monitor none"
        command = [QEMU, *machine.split(), "-serial", "stdio", "-no-reboot"]
        command += ["-kernel", str(payload.kernel), "-initrd", str(initrd)]
        command += ["-append", _words(payload)]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT, check=True
        )
        return _outcomes(done.stdout.decode(errors="replace"), programs)


@dataclass(frozen=True)
class Latitude:
    """Programs that may print what they like, those that may print their lines in any order, and
    those that have to end with 0 here, which QEMU does not always let them."""

    free: Collection[str] = ()
    unordered: Collection[str] = ()
    ours: Collection[str] = ()

    def right(self, name: str, here: Outcome, there: Outcome) -> bool:
        """Whether a program did here what it did there, or should have done."""
        if here.code != (0 if name in self.ours else there.code):
            return False
        if name in self.unordered:
            return here.lines == there.lines
        return name in self.free or here.digest == there.digest


NONE = Latitude()


def differences(here: Outcomes, there: Outcomes, latitude: Latitude = NONE) -> list[str]:
    """The programs that ended or printed otherwise."""
    return [name for name in here if not latitude.right(name, here[name], there[name])]


def compare_in_guests(
    programs: Mapping[str, Path], accel: str, cpus: int, latitude: Latitude = NONE
) -> int:
    """Run programs here and there, and say what came out; how many did differently."""
    here, there = run_here(programs, accel, cpus), run_on_qemu(programs, cpus)
    return _compared(here, there, latitude, "under QEMU")


def compare_with_host(
    programs: Mapping[str, Path], guest: str, accel: str, cpus: int, latitude: Latitude = NONE
) -> int:
    """Run programs in a guest and on the host, and say what came out; how many did differently."""
    here, there = run_here(programs, accel, cpus, guest), run_on_host(programs)
    return _compared(here, there, latitude, "on the host")


def _compared(here: Outcomes, there: Outcomes, latitude: Latitude, where: str) -> int:
    other = differences(here, there, latitude)
    for name, outcome in here.items():
        told = f"not as {where}: {there[name]}" if name in other else f"as {where}"
        click.echo(f"{name}: ended with {outcome.code}, {told}")
    click.echo(f"{len(here) - len(other)} as {where}, {len(other)} not")
    return len(other)
