"""Machines that stay, many at once: how long a list of them takes, and what those that wait cost.

    python -m bench.stay [--machines 50] [--running 20] [--rounds N] [--seconds N]

Each is Debian's kernel for RISC-V with a shell that waits. The list is timed as a person would,
from the start of ``bimetal list --all`` to its end. At the end all that run are killed, and the
list has to say so of each.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.resident import descendants, resident
from bimetal import Payload, fetch_guest
from bimetal.control import Machines
from bimetal.control.places import Places

__all__ = ["Fleet", "own_folders"]

MEMORY = 256 << 20
MIB = 1 << 20
LIMIT = 600
PROMPT = b"# "

TEXT = """<domain type='qemu'><name>{name}</name><memory unit='b'>{memory}</memory>
<os><type arch='riscv64' machine='virt'>hvm</type><kernel>{kernel}</kernel>
<initrd>{initrd}</initrd><cmdline>{append}</cmdline></os>
<devices><interface type='user'/><serial type='file'><source path='{console}'/></serial></devices>
</domain>"""


def own_folders(folder: Path) -> dict[str, str]:
    """The environment of a user whose machines lie in ``folder``."""
    names = {"XDG_CONFIG_HOME": "c", "XDG_STATE_HOME": "s", "XDG_RUNTIME_DIR": "r"}
    (folder / "r").mkdir(0o700)
    return {name: str(folder / place) for name, place in names.items()}


class Fleet:
    """Machines in a folder of their own."""

    def __init__(self, folder: Path):
        self.folder = folder
        os.environ.update(own_folders(folder))
        self.machines = Machines(Places(*(folder / each / "bimetal" for each in "csr")))

    def define(self, count: int, payload: Payload) -> list[str]:
        """Define so many; their names."""
        names = [f"vm{number:02}" for number in range(count)]
        for name in names:
            text = TEXT.format(
                name=name, memory=MEMORY, console=self.console(name), kernel=payload.kernel,
                initrd=payload.initrd, append=payload.append,
            )  # fmt: skip
            self.machines.define(text)
        return names

    def console(self, name: str) -> Path:
        """Where what a guest prints goes."""
        return self.folder / f"{name}.console"

    def start(self, names: list[str]) -> None:
        """Start machines, and wait until each guest waits at its prompt."""
        for name in names:
            self.machines.start(name)
            ended = time.monotonic() + LIMIT
            while not self.console(name).read_bytes().count(PROMPT):
                if time.monotonic() > ended:
                    raise SystemExit(f"{name} did not come up")
                time.sleep(0.05)

    def pids(self, names: list[str]) -> list[int]:
        """The processes of machines."""
        return [self.machines.places.pid(name) for name in names]

    def kill(self, names: list[str]) -> None:
        """Kill machines, all at once."""
        for pid in self.pids(names):
            os.kill(pid, signal.SIGKILL)
        for name in names:
            self.machines.await_end(name, LIMIT)


def listed(rounds: int) -> tuple[list[float], str]:
    """Seconds that lists took, and the last one."""
    taken, text = [], ""
    for _ in range(rounds + 1):
        begun = time.perf_counter()
        text = subprocess.run(
            [sys.executable, "-m", "bimetal", "list", "--all"],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        taken.append(time.perf_counter() - begun)
    return taken[1:], text


def told(title: str, taken: list[float]) -> str:
    """A line of the report."""
    middle = statistics.median(taken)
    return (
        f"{title:32} {middle:.3f} s (median of {len(taken)}; {min(taken):.3f} to {max(taken):.3f})"
    )


def processor_seconds(pids: list[int]) -> float:
    """What processes, and those that they have started, have had of processors."""
    return sum(ticks(each) for pid in pids for each in (pid, *descendants(pid))) / os.sysconf(
        "SC_CLK_TCK"
    )


def ticks(pid: int) -> int:
    """The same of one process (proc_pid_stat(5), utime and stime); 0 of one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def idle(pids: list[int], seconds: float) -> Iterator[str]:
    """What waiting machines cost."""
    before = processor_seconds(pids)
    time.sleep(seconds)
    used = (processor_seconds(pids) - before) / seconds
    yield f"{'processor, all of them':32} {used:.1%} of one; each {used / len(pids):.2%}"
    found = [resident(pid, MEMORY) for pid in pids]
    for title in ("guest", "own", "helpers", "total"):
        sizes = [getattr(each, title) / MIB for each in found]
        yield f"{'MiB each, ' + title:32} {statistics.mean(sizes):.0f}; all {sum(sizes):.0f}"


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, default=50)
    parser.add_argument("--running", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=30)
    given = parser.parse_args()
    payload = fetch_guest("debian-riscv64")
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(Path(folder))
        names = fleet.define(given.machines, payload)
        running = names[: given.running]
        print(told("list, none running", listed(given.rounds)[0]))
        begun = time.perf_counter()
        try:
            fleet.start(running)
            print(f"{'all at their prompts after':32} {time.perf_counter() - begun:.1f} s")
            print(*idle(fleet.pids(running), given.seconds), sep="\n")
            taken, text = listed(given.rounds)
            print(told(f"list, {given.running} running", taken))
            assert text.count(" running\n") == given.running, text
        finally:
            fleet.kill([each.name for each in fleet.machines if each.runs])
        _, text = listed(0)
        assert text.count(" shut off\n") == given.machines, text
        print("all of them killed: each is said to be off, and none is lost")


if __name__ == "__main__":
    main()
