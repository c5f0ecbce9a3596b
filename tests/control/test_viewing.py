"""What is done with screens, events, and disks of machines that are off, in virsh's words."""

from __future__ import annotations

import select
import subprocess
import sys
from pathlib import Path

from bimetal import images
from tests.control.homes import LIMIT, Homes


def test_a_machine_without_a_screen(homes: Homes, tmp_path: Path) -> None:
    homes.machines.define(homes.text("crab"))
    homes.machines.start("crab")
    assert "has no screen" in homes.quick("screenshot", "crab", str(tmp_path / "x.png")).err
    assert homes.quick("domdisplay", "crab").err.startswith("error: No graphical display found\n")
    assert "has no keyboard" in homes.quick("send-key", "crab", "KEY_LEFTCTRL", "KEY_C").err
    assert "no key" in homes.quick("send-key", "crab", "--keycode", "KEY_NONE").err
    assert list(tmp_path.glob("*.png")) == []


def test_what_happens_is_told(homes: Homes) -> None:
    homes.machines.define(homes.text("crab"))
    homes.machines.start("crab")
    code = "from bimetal.cli import virsh; virsh(['event', 'crab', '--all', '--loop'])"
    with subprocess.Popen(
        [sys.executable, "-c", code], env=homes.environment, stdout=-1, text=True
    ) as process:
        assert process.stdout is not None
        while not select.select([process.stdout], [], [], 0.05)[0]:  # until it listens
            homes.machines.ask("crab", "stop")
            homes.machines.ask("crab", "cont")
        homes.machines.ask("crab", "system_reset")
        homes.machines.destroy("crab")
        lines = process.stdout.readlines()
        assert process.wait(LIMIT) == 0
    text = "".join(lines)
    assert "event 'lifecycle' for domain 'crab': Resumed Unpaused\n" in text
    assert "event 'reboot' for domain 'crab'\n" in text
    assert "event 'lifecycle' for domain 'crab': Shutdown Finished\n" in text
    assert lines[-1].startswith("events received: ")


def test_nothing_happens(homes: Homes) -> None:
    homes.machines.define(homes.text("crab"))
    homes.machines.start("crab")
    outcome = homes.quick("event", "crab", "lifecycle", "--timeout", "0.1")
    assert (outcome.code, outcome.out) == (1, "event loop timed out\nevents received: 0\n")
    assert "lifecycle\n" in homes.say("event", "--list")
    assert "requires <domain>" in homes.quick("event").err
    assert "one of --list" in homes.quick("event", "crab").err


def test_disks_of_a_machine_that_is_off(homes: Homes, tmp_path: Path) -> None:
    base, top = tmp_path / "base.qcow2", tmp_path / "top.qcow2"
    images.create(str(base), "4M", format="qcow2")
    images.create(str(top), format="qcow2", backing="base.qcow2", backing_format="qcow2")
    device = (
        f"<disk type='file'><driver type='qcow2'/><source file='{top}'/><target dev='vda'/></disk>"
    )
    homes.machines.define(homes.text("crab", devices=device))
    assert homes.say("-q", "blockresize", "crab", "vda", "8M") == ""
    assert images.information(str(top)).size == 8 << 20
    assert homes.quick("blockresize", "crab", "vda", "1M").code == 1
    assert "not assigned to domain" in homes.quick("blockresize", "crab", "vdb", "8M").err
    homes.say("blockcommit", "crab", "vda", "--pivot")
    assert homes.machines.definition("crab").disks[0].path == str(base)
    assert images.information(str(base)).size == 8 << 20
    assert "lies on no other image" in homes.quick("blockcommit", "crab", "vda").err
