"""Boards under construction: wires, names, overlaps."""

import pytest

from bimetal.backends.chars.null import NoChars
from bimetal.base.clock import VirtualClock
from bimetal.base.errors import BimetalError
from bimetal.devices.irq.plic import Plic
from bimetal.devices.power.sifive_test import SifiveTest
from bimetal.devices.rtc.goldfish import GoldfishRtc
from bimetal.machine.board import BOARDS, board, find_board
from bimetal.machine.chassis import Chassis
from bimetal.machine.config import Config
from bimetal.machine.console import ConsoleLine
from bimetal.seam import Shutdown
from tests.turns import Deferred


@pytest.fixture
def chassis() -> Chassis:
    config = Config(memory=1 << 20, cpus=2)
    return Chassis(config, VirtualClock(), ConsoleLine(NoChars()), Deferred())


def test_wires_lead_to_cpus_that_come_later(chassis: Chassis) -> None:
    driven: list[tuple[int, int, bool]] = []
    rtc = chassis.add(GoldfishRtc(chassis.clock), at=0x1000, irq=chassis.line(1, 9))
    rtc.irq(True)
    chassis.outlets.cpus.connect(driven.append)
    rtc.irq(False)
    assert driven == [(1, 9, False)]


def test_power(chassis: Chassis) -> None:
    heard: list[Shutdown] = []
    test = chassis.add(SifiveTest(), at=0x1000, power=chassis.power)
    test.write(0, 4, 0x5555)
    chassis.outlets.power.connect(heard.append)
    test.write(0, 4, 0x5555)
    assert heard == [Shutdown()]


def test_it_is_finished_once_it_is_said_how_cpus_start(chassis: Chassis) -> None:
    with pytest.raises(ValueError, match="does not say how its CPUs start"):
        chassis.finish()


def test_interrupts_of_the_accelerators_controller(chassis: Chassis) -> None:
    driven: list[tuple[int, bool]] = []
    chassis.outlets.irqs.connect(driven.append)
    rtc = chassis.add(GoldfishRtc(chassis.clock), at=0x1000, irq=chassis.irq(5))
    rtc.irq(True)
    assert driven == [(5, True)]


def test_devices_are_named_by_their_address(chassis: Chassis) -> None:
    rtc = chassis.add(GoldfishRtc(chassis.clock), at=0x10_1000)
    assert rtc.name == "rtc@101000"
    assert chassis.placements.named("rtc@101000") is rtc


def test_the_only_device_of_a_class(chassis: Chassis) -> None:
    plic = chassis.add(Plic(8, 2), at=0x1000)
    assert chassis.only(Plic) is plic
    chassis.add(Plic(8, 2), at=0x1000_0000)
    assert chassis.only(Plic, "plic@1000") is plic
    with pytest.raises(KeyError, match="several devices are a Plic: name one of plic@1000, plic@1"):
        chassis.only(Plic)
    with pytest.raises(KeyError, match="no device is a SifiveTest, of plic@1000"):
        chassis.only(SifiveTest)


def test_ports_are_apart_from_memory(chassis: Chassis) -> None:
    chassis.ram(at=0)
    chassis.add_port(SifiveTest(), port=0x60)
    assert chassis.ports.find(0x60) is not None
    assert chassis.space.find(0x60) is not None


def test_overlaps_name_both(chassis: Chassis) -> None:
    chassis.ram(at=0x8000_0000)
    with pytest.raises(ValueError, match=r"test@80000000 .* overlaps ram"):
        chassis.add(SifiveTest(), at=0x8000_0000)


def test_wires_that_do_not_fit(chassis: Chassis) -> None:
    with pytest.raises(ValueError, match=r"test@0 has no output 'irq'; its outputs are: power"):
        chassis.add(SifiveTest(), at=0, irq=chassis.line(0, 9))
    with pytest.raises(ValueError, match=r"wants 4 inputs, not \[cpu0 line 9\]"):
        chassis.add(Plic(8, 4), at=0, notify=[chassis.line(0, 9)])
    with pytest.raises(ValueError, match="wants one input"):
        chassis.add(SifiveTest(), at=0, power=[chassis.line(0, 9)])


def test_boards_have_names() -> None:
    assert find_board("riscv-virt")[0].isa == "riscv64"
    with pytest.raises(BimetalError, match="no board 'toaster'"):
        find_board("toaster")
    with pytest.raises(ValueError, match="two boards"):
        board("riscv-virt", isa="riscv64", max_cpus=1)(lambda m: None)
    assert "riscv-virt" in BOARDS
    with pytest.raises(BimetalError, match=r"did you mean arm-virt or riscv-virt\? choose from"):
        find_board("virt")


def test_a_board_may_be_declared_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bimetal.machine.board.BOARDS", {})

    def declare() -> None:
        @board("kitchen", isa="riscv64", max_cpus=1)
        def kitchen(m: Chassis) -> None:
            """A board in a notebook's cell."""

    declare()
    declare()
    with pytest.raises(ValueError, match="two boards"):
        board("kitchen", isa="riscv64", max_cpus=1)(lambda m: None)
