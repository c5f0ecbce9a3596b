"""The device framework: declarations, dispatch, events, outputs, state."""

from collections.abc import Callable

import pytest

from bimetal.base.errors import GuestError
from bimetal.devices.device import Device
from bimetal.devices.output import Out, Outs
from bimetal.devices.register import Reg, RegArray, Todo, Value
from bimetal.memory.access import Access, Refused
from bimetal.seam import Shutdown


class Widget(Device):
    """A device with one of everything."""

    kind = "widget"
    compatible = ("acme,widget",)
    saved = ("history",)

    CONTROL = Reg(0x0, reset=0x10, ENABLE=0, MODE=(5, 4), doc="what to do")
    STATUS = Reg(0x4, reset=0xA5, readonly=True)
    COUNT = Reg(0x8, size=8)
    EVENTS = Reg(0x10, size=1, writable=0)
    MASKED = Reg(0x14, reset=0xF0, writable=0x0F)
    CHANNEL = RegArray(0x100, "channels", stride=0x10, size=2, reset=7, writable=0xFF)
    DMA = Todo(0x40, size=0x20, doc="transfers without the CPU")

    irq = Out()
    power = Out(Shutdown)
    lanes = Outs("channels")

    def __init__(self, channels: int = 3):
        self.channels = channels
        self.history: list[object] = []
        super().__init__()

    def w_CONTROL(self, written: Value) -> None:
        self.history.append((written.ENABLE, written.MODE))
        if written.MODE == 3:
            raise GuestError("mode 3 does not exist")
        self.irq(bool(written.ENABLE))

    def r_EVENTS(self) -> int:
        pending, self.EVENTS = int(self.EVENTS), 0
        return pending

    def w_EVENTS(self, written: Value) -> None:
        self.EVENTS = self.EVENTS & ~written

    def w_CHANNEL(self, index: int, written: Value) -> None:
        self.lanes[index](written != 0)


class Shadow(Device):
    """Registers whose value is elsewhere, of which a part may be written."""

    access = Access(sizes=(1, 2, 4))
    TOTAL = Reg(0x0, writable=0)
    EACH = RegArray(0x10, 2, writable=0)

    def __init__(self) -> None:
        self.total, self.each = 0x1122_3344, [0x5566_7788, 0]
        super().__init__()

    def k_TOTAL(self) -> int:
        return self.total

    def w_TOTAL(self, written: Value) -> None:
        self.total = int(written)

    def k_EACH(self, index: int) -> int:
        return self.each[index]

    def w_EACH(self, index: int, written: Value) -> None:
        self.each[index] = int(written)


class Darker(Shadow):
    """One more register does not change what the family takes."""

    MORE = Reg(0x20, size=8)


def test_accesses_are_inherited() -> None:
    assert Darker.access == Shadow.access == Access(sizes=(1, 2, 4))


def test_a_write_to_a_part_keeps_what_the_device_says() -> None:
    shadow = Shadow()
    shadow.write(0x1, 1, 0xFF)
    shadow.write(0x12, 2, 0xABCD)
    assert (shadow.total, shadow.each) == (0x1122_FF44, [0xABCD_7788, 0])


def test_a_register_conversation() -> None:
    widget = Widget()
    assert widget.read(0x0, 4) == 0x10
    widget.write(0x0, 4, 0x21)
    assert widget.CONTROL == 0x21
    assert widget.CONTROL.MODE == 2
    assert repr(widget.CONTROL) == "0x21 (ENABLE=0x1, MODE=0x2)"
    assert widget.history == [(1, 2)]


def test_only_writable_bits_change_and_the_hook_sees_what_was_written() -> None:
    widget = Widget()
    widget.write(0x14, 4, 0xFFFF_FFFF)
    assert widget.read(0x14, 4) == 0xFF
    widget.EVENTS = 0b111
    widget.write(0x10, 1, 0b010)
    assert widget.EVENTS == 0b101
    assert widget.read(0x10, 1) == 0b101
    assert widget.read(0x10, 1) == 0


def test_arrays() -> None:
    widget = Widget()
    seen: list[bool] = []
    widget.lanes[2].connect(seen.append)
    assert widget.read(0x120, 2) == 7
    widget.write(0x120, 2, 0x1234)
    assert widget.CHANNEL == [7, 7, 0x34]
    assert seen == [True]


@pytest.mark.parametrize(
    ("offset", "size", "value"),
    [
        (0x0, 1, 0x10),
        (0x4, 1, 0xA5),
        (0x5, 1, 0),
        (0x6, 2, 0),
        (0x8, 4, 0),
        (0xC, 4, 0),
        (0x100, 1, 7),
    ],
)
def test_reads_of_parts(offset: int, size: int, value: int) -> None:
    widget = Widget()
    assert widget.read(offset, size) == value
    assert not widget.events.counts


@pytest.mark.parametrize(("offset", "size"), [(0x0, 8), (0x2, 4), (0x10, 2), (0x10, 4), (0x4, 8)])
def test_no_access_touches_a_neighbour(offset: int, size: int) -> None:
    widget = Widget()
    before = widget.save()
    with pytest.raises(Refused, match=f"access of {size} bytes to"):
        widget.read(offset, size)
    with pytest.raises(Refused, match=f"access of {size} bytes to"):
        widget.write(offset, size, 0)
    assert widget.save() == before


def test_what_a_device_takes_follows_from_its_registers() -> None:
    class Words(Device):
        ONE = Reg(0x0)
        MISSING = Todo(0x10, size=2)

    class Doubles(Device):
        ONE = Reg(0x0, size=8)

    class Declared(Words):
        access = Access(sizes=(2, 4))

    assert Words.access.sizes == (4,)
    assert Doubles.access.sizes == (4, 8), "the halves too"
    assert Widget.access.sizes == (1, 2, 4, 8)
    assert Declared.access.sizes == (2, 4)
    assert Device.access == Access()


def test_writes_of_parts() -> None:
    widget = Widget()
    widget.write(0xC, 4, 0x1122_3344)
    widget.write(0x8, 2, 0x5566)
    assert widget.COUNT == 0x1122_3344_0000_5566
    widget.write(0x9, 1, 0xAA)
    assert widget.read(0x8, 8) == 0x1122_3344_0000_AA66
    widget.write(0x100, 1, 0x99)
    assert widget.CHANNEL[0] == 0x99


@pytest.mark.parametrize(
    ("access", "event"),
    [
        (lambda w: w.read(0x30, 4), "access to 0x30, where there is no register"),
        (lambda w: w.read(0x130, 2), "access to 0x130, where there is no register"),
        (lambda w: w.read(0x102, 2), "access to 0x102, where there is no register"),
        (lambda w: w.write(0x4, 4, 1), "write to the read-only register STATUS"),
        (lambda w: w.write(0x0, 4, 0x30), "mode 3 does not exist"),
    ],
)
def test_guest_errors_are_counted_and_go_on(
    access: Callable[[Widget], int | None], event: str
) -> None:
    widget = Widget()
    assert access(widget) in (0, None)
    assert widget.events.counts == {f"guest error: {event}": 1}


def test_what_is_missing_says_so() -> None:
    widget = Widget()
    assert widget.read(0x5C, 4) == 0
    widget.write(0x40, 4, 1)
    assert widget.events.counts == {"not implemented: DMA transfers without the CPU": 2}


def test_levels_are_told_when_they_change_and_messages_always() -> None:
    widget = Widget()
    levels: list[bool] = []
    messages: list[Shutdown] = []
    widget.irq.connect(levels.append)
    widget.power.connect(messages.append)
    for control in (1, 1, 0, 0, 1):
        widget.write(0, 4, control)
    widget.power(Shutdown())
    widget.power(Shutdown())
    assert levels == [True, False, True]
    assert messages == [Shutdown(), Shutdown()]


def test_an_input_may_hear_that_a_level_is_driven_high_again() -> None:
    class Pin:
        def __init__(self) -> None:
            self.heard: list[str] = []

        def __call__(self, level: bool) -> None:
            self.heard.append("high" if level else "low")

        def renew(self) -> None:
            self.heard.append("again")

    widget, pin = Widget(), Pin()
    widget.irq.connect(pin)
    for control in (0, 1, 1, 0, 0, 1):
        widget.write(0, 4, control)
    assert pin.heard == ["high", "again", "low", "high"]


def test_reset() -> None:
    widget = Widget()
    widget.write(0, 4, 0)
    widget.write(0x100, 2, 0)
    widget.reset()
    assert widget.CONTROL == 0x10
    assert widget.CHANNEL == [7, 7, 7]


def test_state_goes_through_a_snapshot() -> None:
    widget = Widget()
    widget.write(0, 4, 0x21)
    widget.write(0x110, 2, 0x42)
    state = widget.save()
    other = Widget()
    other.load(state)
    widget.write(0, 4, 0)
    assert other.save() == state
    assert other.CONTROL.MODE == 2
    assert other.history == [(1, 2)]


def test_the_declarations_document_themselves() -> None:
    assert Widget.describe().splitlines() == [
        "0x000000 CONTROL         32 rw   ENABLE[0] MODE[5:4] what to do",
        "0x000004 STATUS          32 ro",
        "0x000008 COUNT           64 rw",
        "0x000010 EVENTS           8 rw",
        "0x000014 MASKED          32 rw",
        "0x000040 DMA            256 todo transfers without the CPU",
        "0x000100 CHANNEL         16 rw   [channels] every 0x10",
        "accesses of 1, 2, 4, 8 bytes",
        "output   irq",
        "output   power",
        "output   lanes",
    ]


def test_each_of_several_bases_has_its_registers() -> None:
    class Lamp(Device):
        LIGHT = Reg(0x200)
        glow = Out()

    class Both(Lamp, Widget):
        OWN = Reg(0x300)

    both = Both()
    both.write(0x300, 4, 1)
    both.write(0x200, 4, 2)
    both.write(0x0, 4, 3)
    assert [both.read(at, 4) for at in (0x300, 0x200, 0x0)] == [1, 2, 3]
    assert {"glow", "irq", "lanes"} <= set(Both.outputs())


def test_a_derived_class_adds_to_its_base_and_replaces_hooks() -> None:
    class Better(Widget):
        EXTRA = Reg(0x18, reset=3)

        def r_STATUS(self) -> int:
            return 0x77

    better = Better()
    assert better.read(0x18, 4) == 3
    assert better.read(0x4, 4) == 0x77
    assert Widget().read(0x4, 4) == 0xA5
    assert Better.outputs() == ("irq", "power", "lanes")


@pytest.mark.parametrize(
    "declare",
    [
        lambda: Reg(0, size=3),
        lambda: Reg(0, size=1, WIDE=(8, 0)),
        lambda: Reg(0, UPSIDE_DOWN=(0, 3)),
        lambda: RegArray(0, 4, stride=2, size=4),
    ],
)
def test_declarations_that_make_no_sense(declare: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"cannot be|does not fit"):
        declare()


def test_a_field_that_does_not_exist_names_those_that_do() -> None:
    with pytest.raises(AttributeError, match="no field MOOD, only ENABLE, MODE"):
        _ = Widget().CONTROL.MOOD
