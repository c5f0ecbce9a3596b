"""How x86 guests switch off and reset: ACPI registers and the keyboard controller."""

from __future__ import annotations

import pytest

from bimetal.base.clock import VirtualClock
from bimetal.devices.power.acpi import AcpiPower
from bimetal.devices.power.i8042 import I8042
from bimetal.devices.timer.pit import Pit
from bimetal.seam import Shutdown, ShutdownKind

OFF, RESET = Shutdown(ShutdownKind.POWER_OFF), Shutdown(ShutdownKind.RESET)
SLEEP_CONTROL, SLEEP_STATUS, RESET_REGISTER = 0, 1, 2
DATA, COMMAND = 0, 4


def listening(device: AcpiPower | I8042) -> list[Shutdown]:
    heard: list[Shutdown] = []
    device.power.connect(heard.append)
    return heard


def test_sleep_type_5_with_enable_powers_off() -> None:
    acpi = AcpiPower()
    heard = listening(acpi)
    acpi.write(SLEEP_STATUS, 1, 0x80)
    acpi.write(SLEEP_CONTROL, 1, 5 << 2)
    assert heard == []
    acpi.write(SLEEP_CONTROL, 1, 5 << 2 | 1 << 5)
    assert heard == [OFF]
    assert acpi.read(SLEEP_STATUS, 1) == 0


def test_other_sleep_states_do_not_exist() -> None:
    acpi = AcpiPower()
    heard = listening(acpi)
    acpi.write(SLEEP_CONTROL, 1, 3 << 2 | 1 << 5)
    assert heard == []
    assert acpi.events.counts == {"guest error: there is no sleep state of type 3": 1}


@pytest.mark.parametrize(("value", "heard"), [(0, []), (1, [RESET]), (6, [])])
def test_the_reset_register(value: int, heard: list[Shutdown]) -> None:
    acpi = AcpiPower()
    said = listening(acpi)
    acpi.write(RESET_REGISTER, 1, value)
    assert said == heard


@pytest.mark.parametrize(
    ("writes", "heard"),
    [
        ([(COMMAND, 0xFE)], [RESET]),
        ([(COMMAND, 0xF0)], [RESET]),
        ([(COMMAND, 0xFF)], []),
        ([(COMMAND, 0xD1), (DATA, 0xFE)], [RESET]),
        ([(COMMAND, 0xD1), (DATA, 0xFF)], []),
        ([(COMMAND, 0xD1), (COMMAND, 0xFF), (DATA, 0xFE)], []),
    ],
)
def test_the_keyboard_controller_resets(
    writes: list[tuple[int, int]], heard: list[Shutdown]
) -> None:
    controller = I8042(Pit(VirtualClock()))
    said = listening(controller)
    for offset, value in writes:
        controller.write(offset, 1, value)
    assert said == heard


def test_nothing_waits_at_the_keyboard_controller() -> None:
    controller = I8042(Pit(VirtualClock()))
    assert controller.read(COMMAND, 1) & 0b11 == 0
    controller.write(COMMAND, 1, 0xAA)
    controller.write(DATA, 1, 0xED)
    assert sum(controller.events.counts.values()) == 2


def test_half_a_command_is_part_of_the_state() -> None:
    controller = I8042(Pit(VirtualClock()))
    controller.write(COMMAND, 1, 0xD1)
    other = I8042(Pit(VirtualClock()))
    said = listening(other)
    other.load(controller.save())
    other.write(DATA, 1, 0xFE)
    assert said == [RESET]
