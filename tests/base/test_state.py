"""What devices declare of their state, and what becomes of it in a snapshot."""

from typing import Any, ClassVar

import pytest

from bimetal.base.clock import Clock, VirtualClock
from bimetal.base.state import BadState, Stateful
from bimetal.devices.device import Device
from bimetal.devices.output import Out
from bimetal.devices.register import Reg, RegArray


class Cup(Stateful):
    saved = ("level",)

    def __init__(self) -> None:
        self.level = 0


class Kettle(Device):
    """Boils some seconds after it was filled."""

    CONTROL = Reg(0x0)
    ROW = RegArray(0x10, 2)
    saved: ClassVar[tuple[str, ...]] = ("cups", "mugs", "lid", "notes", "_boils")
    fixed = ("clock",)
    derived = ("weight",)

    steam = Out()

    def __init__(self, clock: Clock):
        self.clock = clock
        self.cups = [Cup(), Cup()]
        self.mugs = {"red": Cup(), "blue": Cup()}
        self.lid: str | None = None
        self.notes: dict[int, tuple[int, ...]] = {}
        self.weight = 0
        self._boils = clock.timer(self._boil)
        super().__init__()

    def _boil(self) -> None:
        self.steam(True)

    def restored(self) -> None:
        self.weight = sum(cup.level for cup in self.cups)


def used() -> Kettle:
    kettle = Kettle(VirtualClock())
    kettle.write(0x0, 4, 7)
    kettle.write(0x14, 4, 9)
    kettle.cups[1].level, kettle.lid, kettle.notes = 3, "on", {5: (1, 2)}
    kettle._boils.arm(1000)
    return kettle


def test_all_of_it_comes_back() -> None:
    clock = VirtualClock()
    other = Kettle(clock)
    other.load(used().save())
    assert (other.CONTROL, other.ROW, other.lid, other.notes) == (7, [0, 9], "on", {5: (1, 2)})
    assert [cup.level for cup in other.cups] == [0, 3]
    assert other.weight == 3
    clock.advance(999)
    assert not other.steam.high
    clock.advance(1)
    assert other.steam.high


def test_parts_are_known_by_their_keys_in_whatever_order() -> None:
    state = used().save()
    state["mugs"] = {"blue": {"level": 4}, "red": {"level": 2}}
    other = Kettle(VirtualClock())
    other.load(state)
    assert {name: mug.level for name, mug in other.mugs.items()} == {"red": 2, "blue": 4}


def test_nothing_is_shared_with_what_was_saved() -> None:
    kettle = used()
    state = kettle.save()
    kettle.notes[6] = (3,)
    kettle.ROW[0] = 1
    assert state["notes"] == {5: (1, 2)}
    assert state["registers"]["ROW"] == [0, 9]


def test_whom_an_output_leads_to_is_told_what_is_news() -> None:
    kettle, other, heard = used(), Kettle(VirtualClock()), list[bool]()
    kettle.steam(True)
    other.steam.connect(heard.append)
    other.load(kettle.save())
    other.load(kettle.save())
    assert heard == [True]


def test_an_attribute_of_which_nothing_is_said_is_an_error() -> None:
    class Forgetful(Kettle):
        def __init__(self) -> None:
            super().__init__(VirtualClock())
            self.spoon = 1

    class Leaky(Cup):
        def __init__(self) -> None:
            super().__init__()
            self.hole = True

    with pytest.raises(TypeError, match=r"Forgetful\.spoon: a class says of each attribute"):
        Forgetful().check_state()
    kettle = used()
    kettle.check_state()
    kettle.cups[0] = Leaky()
    with pytest.raises(TypeError, match=r"Leaky\.hole"):
        kettle.check_state()


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("notes", [1], "Kettle.notes cannot be"),
        ("cups", [{"level": 1}], "Kettle.cups has 2 parts"),
        ("cups", [{"level": 1}, {}], "Cup has no 'level'"),
        ("cups", [{"level": 1}, {"level": "full"}], "Cup.level cannot be 'full'"),
        ("cups", 3, "Kettle.cups has 2 parts"),
        ("mugs", {"red": {"level": 1}}, "Kettle.mugs has 2 parts"),
        ("mugs", {"red": {"level": 1}, "green": {"level": 1}}, "Kettle.mugs has 2 parts"),
        (
            "mugs",
            {key: {"level": 1} for key in ("red", "blue", "green")},
            "Kettle.mugs has 2 parts",
        ),
        ("mugs", [{"level": 1}, {"level": 1}], "Kettle.mugs has 2 parts"),
        ("_boils", "soon", "Kettle._boils is no moment"),
        ("registers", {"CONTROL": -1, "ROW": [0, 0]}, "Kettle.CONTROL cannot be -1"),
        ("registers", {"CONTROL": 1 << 32, "ROW": [0, 0]}, "Kettle.CONTROL cannot be"),
        ("registers", {"CONTROL": 0, "ROW": [0]}, "Kettle.ROW has 2 registers"),
        ("registers", {"CONTROL": 0, "ROW": [0, "1"]}, "Kettle.ROW cannot be '1'"),
        ("registers", {}, "Kettle.CONTROL cannot be None"),
        ("registers", 1, "no registers"),
        ("outputs", {}, "Kettle.steam has 1 levels"),
    ],
)
def test_what_is_no_such_state_is_refused(key: str, value: Any, why: str) -> None:
    state = {**used().save(), key: value}
    with pytest.raises(BadState, match=why):
        Kettle(VirtualClock()).load(state)


def test_what_earlier_versions_did_not_save_has_a_value_for_theirs() -> None:
    class Newer(Kettle):
        saved = ("whistle",)
        added = {"whistle": 5}

        def __init__(self) -> None:
            super().__init__(VirtualClock())
            self.whistle = 0

    newer = Newer()
    newer.load(used().save())
    assert newer.whistle == 5
    state = used().save()
    del state["notes"]
    with pytest.raises(BadState, match="Newer has no 'notes'"):
        newer.load(state)
