"""Saving and restoring a Linux guest beside QEMU's savevm and loadvm; forking and rewinding one.

    python -m bench.snapshots [--isa riscv64|aarch64] [--rounds N] [--forks N]

Both save the same guest, idle at its prompt, 512 MiB, in the same round; QEMU into a qcow2 image of
its own. Loading, for the first time and again, is timed in machines that are there, as QEMU's
always is; restoring, with which ours makes a new machine, until that runs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import statistics
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bimetal import Machine, Payload, fetch_guest

GUESTS = {
    "riscv64": ("debian-riscv64", ["qemu-system-riscv64", "-M", "virt"]),
    "aarch64": ("debian-arm64", ["qemu-system-aarch64", "-M", "virt", "-cpu", "max"]),
}
LIMIT = 300
LOOK = 0.0002
SETTLED = 5
"""Seconds after which a machine has its memory in huge pages."""

TIMES = struct.Struct("dd")


def main() -> None:
    """Measure, and print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--isa", choices=GUESTS, default="riscv64")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--forks", type=int, default=100)
    given = parser.parse_args()
    name, command = GUESTS[given.isa]
    payload = fetch_guest(name)
    with tempfile.TemporaryDirectory() as folder:
        beside_qemu(payload, command, Path(folder), given.rounds)
    forks(payload, given.forks, given.rounds)


def booted(payload: Payload, memory: str) -> Machine:
    """Our machine at its prompt."""
    options = {"kernel": payload.kernel, "initrd": payload.initrd, "append": payload.append}
    vm = Machine(payload.board, memory=memory, background=False, **options)  # type: ignore[arg-type]
    vm.start()
    vm.console.expect("# ", LIMIT)
    return vm


def beside_qemu(payload: Payload, command: list[str], folder: Path, rounds: int) -> None:
    """Save and restore, alternately."""
    ours, theirs = dict[str, list[float]](), dict[str, list[float]]()
    snapshot = folder / "snapshot"
    with booted(payload, "512M") as vm, qemu(payload, command, folder) as order:
        for number in range(rounds + 1):
            vm.pause()
            note(ours, "save", lambda: vm.save(snapshot))
            note(theirs, "save", partial(order, f"savevm s{number}"))
            note(ours, "load", lambda: vm.load(snapshot))
            note(theirs, "load", partial(order, f"loadvm s{number}"))
            restored(snapshot, ours)
            theirs.setdefault("restore", []).append(theirs["load"][-1])
            note(ours, "again", lambda: vm.load(snapshot))
            note(theirs, "again", partial(order, f"loadvm s{number}"))
            vm.resume()
        size = snapshot.stat().st_size >> 20
    for what in ours:
        pairs = list(zip(ours[what][1:], theirs[what][1:], strict=True))
        ratio = statistics.median(their / our for our, their in pairs)
        our, their = (statistics.median(each) for each in zip(*pairs, strict=True))
        print(f"{what:8} ours {our:.3f} s, QEMU {their:.3f} s, ratio {ratio:.1f}")
    print(f"the file has {size} MiB")


def restored(snapshot: Path, times: dict[str, list[float]]) -> None:
    """Restore a machine and let it run; its end does not count."""
    start = time.perf_counter()
    with Machine.restore(snapshot, background=False) as vm:
        vm.start()
        times.setdefault("restore", []).append(time.perf_counter() - start)


def note(times: dict[str, list[float]], what: str, do: Callable[[], object]) -> None:
    """Time something."""
    start = time.perf_counter()
    do()
    times.setdefault(what, []).append(time.perf_counter() - start)


@contextmanager
def qemu(
    payload: Payload, command: list[str], folder: Path
) -> Iterator[Callable[[str], dict[str, Any]]]:
    """QEMU's machine at its prompt: what carries out orders of its monitor."""
    image, serial, monitor = (folder / each for each in ("state.qcow2", "serial", "monitor"))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "8G"], check=True)
    system = ["-kernel", str(payload.kernel), "-initrd", str(payload.initrd)]
    process = subprocess.Popen(
        [
            *command,
            *("-m", "512M", "-display", "none", "-monitor", "none"),
            *(*system, "-append", payload.append),
            *("-serial", f"unix:{serial},server=on,wait=off"),
            *("-qmp", f"unix:{monitor},server=on,wait=off"),
            *("-drive", f"file={image},if=none,id=state,format=qcow2"),
            *("-device", "virtio-blk-device,drive=state"),
        ]
    )
    try:
        console, control = dialled(serial), dialled(monitor)
        shown = b""
        while b"# " not in shown:
            shown = (shown + console.recv(4096))[-200:]
        lines = control.makefile("rw")

        def ask(what: str, **arguments: object) -> dict[str, Any]:
            lines.write(json.dumps({"execute": what, "arguments": arguments}) + "\n")
            lines.flush()
            while True:
                reply: dict[str, Any] = json.loads(lines.readline())
                if "return" in reply or "error" in reply:
                    return reply

        lines.readline()
        ask("qmp_capabilities")
        yield lambda line: ask("human-monitor-command", **{"command-line": line})
    finally:
        process.kill()
        process.wait()


def dialled(path: Path) -> socket.socket:
    """A connection to a socket that may have to be made yet."""
    end = time.monotonic() + LIMIT
    while True:
        line = socket.socket(socket.AF_UNIX)
        try:
            line.connect(str(path))
            return line
        except OSError:
            line.close()
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def forks(payload: Payload, count: int, rounds: int) -> None:
    """Fork and rewind a guest of 256 MiB."""
    with booted(payload, "256M") as vm:
        vm.console.sendline(f"sleep {SETTLED}; echo set''tled")
        vm.console.expect("settled", LIMIT)
        vm.console.sendline("while :; do :; done")
        singly = zip(*(until_they_run(vm, 1) for _ in range(4 * rounds)), strict=True)
        executes, seen = (statistics.median(each) * 1000 for each in singly)
        print(f"a fork executes after {executes:.1f} ms, which is seen after {seen:.1f} ms")
        executes, seen = until_they_run(vm, count)
        print(f"{count} forks execute after {executes:.2f} s, which is seen after {seen:.2f} s")
        vm.console.send("\x03")
        vm.console.expect("# ", LIMIT)
        with vm.fork(count) as many:
            for number, fork in enumerate(many):
                fork.console.sendline(f"echo here is {number}")
                fork.console.expect(f"here is {number}\r\n", LIMIT)
            own = statistics.median(written(fork.pid) for fork in many)
            print(f"each has written to {own / 1024:.1f} MiB, after a command in its shell")
        vm.checkpoint()
        vm.pause()
        start_of_ram = 0x8800_0000 if payload.board.startswith("riscv") else 0x4800_0000
        times = []
        for _ in range(10 * rounds):
            for page in range(50):
                vm.memory.write(start_of_ram + 0x1_0000 * page, b"written")
            start = time.perf_counter()
            vm.rewind()
            times.append(time.perf_counter() - start)
        print(f"50 pages are rewound in {statistics.median(times) * 1000:.2f} ms")


def until_they_run(vm: Machine, count: int) -> tuple[float, float]:
    """Seconds until each of so many forks of a busy guest executes instructions of its own, and
    until a program there has seen that, from a count that is renewed now and then."""
    news, told = os.pipe()

    def work(mine: Machine, number: int) -> None:
        before = mine.counters()["cpu0"]["instructions"]
        while mine.counters()["cpu0"]["instructions"] == before:
            time.sleep(LOOK)  # or else the CPU's thread had to wait for the interpreter's lock
        seen = time.perf_counter()
        busy = busy_for("cpu0")
        os.write(told, TIMES.pack(time.perf_counter() - busy, seen))

    start = time.perf_counter()
    with vm.fork(count, work):
        times = [TIMES.unpack(os.read(news, TIMES.size)) for _ in range(count)]
    os.close(news)
    os.close(told)
    executes, seen = (max(each) - start for each in zip(*times, strict=True))
    return executes, seen


def busy_for(name: str) -> float:
    """Seconds since a thread of this process began that has never slept: the host counts how long
    it ran, and how long it waited for a processor (Linux, Documentation/scheduler/sched-stats)."""
    (thread,) = (each for each in threading.enumerate() if each.name == name)
    text = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text()
    ran, waited = map(int, text.split()[:2])
    return (ran + waited) / 1e9


def written(pid: int) -> int:
    """KiB that a process alone has written to."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"Private_Dirty: +([0-9]+) kB", text)
    return int(found[1]) if found else 0


if __name__ == "__main__":
    main()
