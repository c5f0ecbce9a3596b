"""The test finisher as a register conversation."""

import pytest

from bimetal.devices.power.sifive_test import SifiveTest
from bimetal.seam import Shutdown, ShutdownKind


@pytest.mark.parametrize(
    ("size", "written", "said"),
    [
        (4, 0x5555, Shutdown()),
        (2, 0x5555, Shutdown()),
        (4, 0x0003_3333, Shutdown(code=3)),
        (4, 0xFFFF_3333, Shutdown(code=0xFFFF)),
        (4, 0x7777, Shutdown(ShutdownKind.RESET)),
        (4, 0x0007_7777, Shutdown(ShutdownKind.RESET, 7)),
    ],
)
def test_the_guest_ends_its_run(size: int, written: int, said: Shutdown) -> None:
    device = SifiveTest()
    heard: list[Shutdown] = []
    device.power.connect(heard.append)
    device.write(0, size, written)
    assert heard == [said]
    assert device.read(0, 4) == 0


def test_another_status_is_a_guest_error() -> None:
    device = SifiveTest()
    device.power.connect(lambda shutdown: pytest.fail(f"powered off: {shutdown}"))
    device.write(0, 4, 0x1234)
    assert device.events.counts == {"guest error: FINISHER has no status 0x1234": 1}
