"""Finished boards: the outputs of their CPUs, and all of their devices together."""

from collections.abc import Mapping

import pytest

from bimetal.backends.chars.null import NoChars
from bimetal.base.clock import VirtualClock
from bimetal.devices.irq.plic import Plic
from bimetal.machine.chassis import Chassis
from bimetal.machine.config import Config
from bimetal.machine.console import ConsoleLine
from bimetal.machine.cpus import CpuControl
from bimetal.machine.hardware import Firmware, Hardware
from bimetal.seam import Cpu
from tests.turns import Deferred


class NoBoot:
    """CPUs that never start."""

    firmware_calls = hypervisor = False
    moved: Mapping[str, int] = {}
    unused = (0, 0)

    def load(self) -> None: ...

    def device_tree(self) -> bytes:
        raise NotImplementedError

    def enter(self, cpu: Cpu) -> bool:
        return False

    def firmware(self, cpus: CpuControl) -> Firmware:
        raise NotImplementedError


@pytest.fixture
def chassis() -> Chassis:
    config = Config(memory=1 << 20, cpus=2)
    return Chassis(config, VirtualClock(), ConsoleLine(NoChars()), Deferred())


def finished(chassis: Chassis) -> Hardware:
    chassis.start_with(NoBoot())
    return chassis.finish()


def test_outputs_of_cpus_lead_to_their_lines(chassis: Chassis) -> None:
    heard: list[tuple[str, bool]] = []
    chassis.wire_output(0, 1, lambda level: heard.append(("0.1", level)))
    chassis.wire_output(1, 0, lambda level: heard.append(("1.0", level)))
    hardware = finished(chassis)
    hardware.drive_outputs(0, 0b10)
    hardware.drive_outputs(1, 0b10)
    assert heard == [("0.1", True), ("1.0", False)]


def test_all_devices_are_reset(chassis: Chassis) -> None:
    plic = chassis.add(Plic(8, 2), at=0)
    hardware = finished(chassis)
    plic.write(4, 4, 5)
    assert plic.read(4, 4) == 5
    hardware.reset()
    assert plic.read(4, 4) == 0
