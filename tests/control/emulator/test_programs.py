"""Emulators that are asked what there is, as libvirt asks them before it starts a machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bimetal.control.emulator.drivers import ASKED_ALWAYS
from tests.control.emulator.programs import LIMIT, finished, probed
from tests.control.homes import Homes
from tests.control.talker import Talker
from tests.host import programs

QEMU = "qemu-system-riscv64"
NOTHING = ("-machine", "none", "-nodefaults", "-nographic", "-qmp", "stdio")


def names(answers: list[dict[str, Any]]) -> set[str]:
    return {each["name"] for each in answers}


def test_libvirts_questions_have_answers(launchers: Path, tmp_path: Path) -> None:
    with probed(launchers / QEMU, tmp_path) as talker:
        assert talker.value("query-target") == {"arch": "riscv64"}
        assert talker.value("query-version")["qemu"]["major"] >= 8
        assert talker.value("query-kvm") == {"enabled": False, "present": False}
        types = names(talker.value("qom-list-types"))
        assert {"tcg-accel", "gpex-pcihost", "pcie-root-port", "virtio-rng-pci"} <= types
        assert any(name.endswith("-non-transitional") for name in types)
        (kind,) = talker.value("query-machines")
        assert (kind["name"], kind["cpu-max"]) == ("virt", 64)
        assert "rv64" in names(talker.value("query-cpu-definitions"))
        properties = names(talker.value("device-list-properties", typename="virtio-blk-pci"))
        assert {"drive", "bootindex", "write-cache"} <= properties
        assert talker.refused("device-list-properties", typename="vfio-pci")[0] == "DeviceNotFound"
        assert_always_a_list(talker, "virt-machine")


def assert_always_a_list(talker: Talker, machine: str) -> None:
    """libvirt gives up an emulator that does not answer these with a list."""
    for typename in (*ASKED_ALWAYS, machine):
        assert talker.value("qom-list-properties", typename=typename)


def test_an_arm_emulator_tells_of_its_interrupt_controllers(
    launchers: Path, tmp_path: Path
) -> None:
    with probed(launchers / "qemu-system-aarch64", tmp_path) as talker:
        (kind,) = talker.value("query-machines")
        assert (kind["name"], kind["alias"]) == ("virt-9.2", "virt")
        assert_always_a_list(talker, "virt-9.2-machine")
        controllers = talker.value("query-gic-capabilities")
        assert [each["version"] for each in controllers] == [2, 3]
        assert all(each["emulated"] for each in controllers)
        assert "cortex-a57" in names(talker.value("query-cpu-definitions"))


def test_an_x86_emulator_tells_which_processors_need_kvm(launchers: Path, tmp_path: Path) -> None:
    with probed(launchers / "qemu-system-x86_64", tmp_path) as talker:
        without_kvm = [] if talker.value("query-kvm")["enabled"] else ["kvm"]
        found = talker.value("query-cpu-definitions")
        needs = {each["name"]: each["unavailable-features"] for each in found}
        assert (needs["max"], needs["EPYC"]) == ([], [])
        assert needs["host"] == needs["x86-64-v4"] == without_kvm


def test_what_needs_a_machine_is_refused_without_one(launchers: Path, tmp_path: Path) -> None:
    with probed(launchers / QEMU, tmp_path) as talker:
        assert talker.value("query-status")["status"] == "prelaunch"
        for command in ("query-block", "query-cpus-fast", "system_reset", "cont"):
            assert "there is no machine" in talker.refused(command)[1]


def test_nothing_of_a_machine_is_imported_for_answers() -> None:
    """It would take longer than all the answers."""
    code = (
        "import sys, bimetal.control.emulator.program; "
        "print(*{name.split('.')[1] for name in sys.modules if name.startswith('bimetal.')})"
    )
    outcome = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=LIMIT,
    )
    layers = set(outcome.stdout.split())
    assert not layers & {"accel", "boards", "codegen", "devices", "isa", "memory"}


def test_a_process_goes_with_its_file_and_its_socket(launchers: Path, tmp_path: Path) -> None:
    with probed(launchers / QEMU, tmp_path):
        assert (tmp_path / "qmp").is_socket()
    assert not list(tmp_path.iterdir())


def test_a_client_may_end_it(launchers: Path) -> None:
    ask = '{"execute": "qmp_capabilities"} {"execute": "quit"}\n'
    outcome = finished(launchers / QEMU, *NOTHING, ask=ask)
    assert outcome.returncode == 0, outcome.stderr
    assert '"SHUTDOWN"' in outcome.stdout


def test_what_is_wrong_is_told_in_two_lines(launchers: Path) -> None:
    outcome = finished(launchers / QEMU, "-frobnicate")
    assert (outcome.returncode, outcome.stdout) == (1, "")
    first, second = outcome.stderr.splitlines()
    assert first == f"{QEMU}: the option -frobnicate is not there"
    assert second.startswith("  ")


def test_a_daemon_that_cannot_be_is_told_by_the_first_process(launchers: Path) -> None:
    line = "-machine none -nodefaults -nographic -qmp unix:/nowhere/qmp,server=on,wait=off"
    outcome = finished(launchers / QEMU, *line.split(), "-daemonize")
    assert outcome.returncode == 1
    assert "/nowhere/qmp" in outcome.stderr


def test_the_command_makes_them(tmp_path: Path) -> None:
    outcome = Homes(tmp_path).run("emulators", str(tmp_path / "bin"))
    assert outcome.code == 0, outcome.err
    made = [Path(line) for line in outcome.out.splitlines()]
    assert [each.name for each in made] == [
        "qemu-system-riscv64",
        "qemu-system-aarch64",
        "qemu-system-x86_64",
    ]
    assert "QEMU emulator version" in finished(made[0], "-version").stdout


def answers(program: Path | str, line: str) -> list[object] | None:
    """What an emulator says of names that it was given; None if it refuses the line."""
    ask = "".join(
        json.dumps({"execute": command}) + "\n"
        for command in ("qmp_capabilities", "query-name", "query-uuid", "quit")
    )
    outcome = finished(program, *NOTHING, *line.split(), ask=ask)
    if outcome.returncode:
        return None
    messages = [json.loads(each) for each in outcome.stdout.splitlines()]
    return [each["return"] for each in messages if "return" in each][1:3]


@programs(QEMU)
@pytest.mark.parametrize(
    "line",
    [
        "-name a,,b -uuid 806c0fca-88bc-4d99-957e-8111f192c168",
        "-name guest=a=b,debug-threads=off -uuid 806c0fca88bc4d99957e8111f192c168",
        "--name crab -uuid 806C0FCA-88BC-4D99-957E-8111F192C168",
        "-name guest=a -name guest=b -uuid 806c0fca-88bc-4d99-957e-8111f192c168",
        "-name frob=a",
        "-uuid crab",
        "-rtc base=never",
        "-frobnicate",
        "-name",
    ],
)
def test_lines_mean_what_they_mean_to_qemu(launchers: Path, line: str) -> None:
    assert answers(launchers / QEMU, line) == answers(QEMU, line)
