"""Figures of machines that run: `domstats`."""

from __future__ import annotations

import os
import signal

from bimetal.control.verbs import HOST
from tests.control.homes import Homes


def figures(homes: Homes, name: str) -> dict[str, int | str]:
    (found,) = HOST["domstats"].function(homes.machines, domain=name)
    values: dict[str, int | str] = found.values
    return values


def test_figures_of_a_machine(homes: Homes) -> None:
    disk = homes.folder / "disk.img"
    disk.write_bytes(bytes(1 << 20))
    devices = (
        f"<disk type='file'><source file='{disk}'/><target dev='vdx'/></disk>"
        "<disk type='file' device='cdrom'><target dev='sda' bus='scsi'/></disk>"
        "<interface type='user'><mac address='52:54:00:00:00:07'/></interface>"
    )
    homes.machines.define(homes.text("crab", devices=devices))
    assert figures(homes, "crab") == {
        "state.state": 5,
        "vcpu.current": 1,
        "balloon.maximum": 16 << 10,
    }
    homes.machines.start("crab")
    values = figures(homes, "crab")
    assert values["state.state"] == 1
    assert values["balloon.current"] == values["balloon.maximum"] == 16 << 10
    assert int(values["cpu.time"]) == int(values["cpu.user"]) + int(values["cpu.system"]) > 0
    assert int(values["balloon.rss"]) > 1000
    assert [values[f"block.{number}.name"] for number in range(2)] == ["vdx", "sda"]
    assert (values["block.0.path"], values["block.0.capacity"]) == (str(disk), 1 << 20)
    assert (values["block.count"], values["net.count"]) == (2, 1)
    assert (values["net.0.name"], values["net.0.tx.bytes"]) == ("52:54:00:00:00:07", 0)
    assert (values["block.0.rd.reqs"], values["block.0.wr.bytes"]) == (0, 0)
    shown = homes.virsh("domstats", "crab")
    assert shown.startswith("Domain: 'crab'\n  state.state=1\n")
    assert homes.virsh("domstats").startswith("Domain: 'crab'\n")


def test_a_machine_that_does_not_answer_delays_the_others_little(homes: Homes) -> None:
    for name in ("a", "b"):
        homes.machines.define(homes.text(name))
        homes.machines.start(name)
    os.kill(homes.places.pid("a"), signal.SIGSTOP)
    found = {each.name: each.values for each in HOST["domstats"].function(homes.machines)}
    assert "net.count" not in found["a"]
    assert found["a"]["state.state"] == 1
    assert found["b"]["net.count"] == 0
