"""Commands of QMP with whatever arguments: each has its one answer, and none finds a defect."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from bimetal import images
from bimetal.accel.script import ScriptAccelerator
from bimetal.backends.chars.null import NoChars
from bimetal.base.clock import VirtualClock
from bimetal.control import Monitor
from bimetal.control.commands import MACHINE
from bimetal.machine.machine import Machine
from tests.control.talker import Talker

ROUNDS = 600
SPARED = ("quit",)
"""Commands that end the machine whatever their arguments are."""


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Talker]:
    """A client of a machine with drives, slots and a balloon."""
    monkeypatch.chdir(tmp_path)  # where files are written whose names are chance
    images.create("disk.qcow2", "1M", format="qcow2")
    Path("x").write_bytes(bytes(1 << 20))
    Path("kernel").write_bytes(b"\x13\0\0\0" * 16)
    with ExitStack() as stack:
        machine = Machine(
            "riscv-virt,ports=2",
            memory="16M",
            kernel="kernel",
            kernel_format="raw",
            accel=ScriptAccelerator([]),
            serial=NoChars(),
            clock=VirtualClock(),
        )
        stack.enter_context(machine)
        machine.disk("disk.qcow2")
        machine.cdrom()
        machine.balloon()
        stack.enter_context(Monitor(machine, f"unix:{tmp_path}/qmp", label="<domain/>"))
        machine.start()
        yield stack.enter_context(Talker(tmp_path / "qmp"))


WORDS = [
    "", "x", "a", "cd0", "disk0", "/", "/missing/x", ".", "a\0b", "\u00e9", "x" * 5000, "file",
    "raw", "qcow2", "virtio-blk-pci", "virtio-net-pci", "user", "none", "tap", "user,a=b",
    "52:54:00:00:00:01", "tcp::1-:1", "../x", "-1", "nbd://x", "unix:/x", "disk.qcow2",
]  # fmt: skip
LINES = [
    "info", "info block", "savevm a", "loadvm a", "delvm a", "info snapshots", "change cd0 x",
    "eject cd0", "stop", "c", "balloon 8", "balloon -1", "balloon x", "info balloon", "help",
    "x y z", "'", "\0", "info \0", "savevm " + "n" * 300, "savevm \u00e9", "change cd0 a\0b",
    "info mtree",
]  # fmt: skip


def anything(chance: random.Random, depth: int = 2) -> Any:
    """A value of JSON."""
    kinds: list[Callable[[], Any]] = [
        lambda: chance.choice(WORDS),
        lambda: chance.choice(WORDS),
        lambda: chance.choice([0, 1, -1, 1 << 20, 8 << 20, 1 << 40, 1 << 63, 1 << 70, 0.5]),
        lambda: chance.choice([True, False, None]),
        lambda: {
            chance.choice(["driver", "filename", "str", "x"]): anything(chance, depth - 1)
            for _ in range(chance.randrange(3))
        },
        lambda: [anything(chance, depth - 1) for _ in range(chance.randrange(3))],
    ]
    return chance.choice(kinds if depth else kinds[:4])()


def request(chance: random.Random) -> dict[str, Any]:
    """A command with arguments, most of which it has, some of which are of the right type."""
    command = chance.choice([each for each in MACHINE if each.name not in SPARED])
    given: dict[str, Any] = {}
    for parameter in command.parameters:
        if parameter.required or chance.random() < 0.5:
            fits: dict[str, Callable[[], Any]] = {
                "command-line": lambda: chance.choice(LINES),
                "stop": lambda: False,
            }
            chosen = fits.get(parameter.external, lambda: anything(chance))
            given[parameter.external] = chosen()
    if chance.random() < 0.05:
        given[chance.choice(WORDS)] = anything(chance)
    return {"execute": command.name, "arguments": given}


@pytest.mark.parametrize("seed", range(3))
def test_no_arguments_find_a_defect(
    client: Talker, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(seed)
    kinds, defects = set(), list[Any]()
    for number in range(ROUNDS):
        asked = {**request(chance), "id": number}
        client.send(json.dumps(asked))
        answer = client.answer()
        client.events.clear()
        assert answer["id"] == number
        kinds.add(answer.get("error", {}).get("class", "return"))
        defects += [asked] * any(each.name == "bimetal.qmp" for each in caplog.records)
        caplog.clear()
    assert not defects
    assert kinds >= {"return", "GenericError", "DeviceNotFound", "CommandNotFound"}
    client.value("cont")
    assert client.value("query-status")["running"]
