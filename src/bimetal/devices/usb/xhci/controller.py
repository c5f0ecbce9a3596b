"""The controller's registers, and what happens when software writes them (xHCI 1.1, chapter 5).

Work is done in turns, as virtio devices do it: a transfer at a time of each endpoint that has some,
and what is left when a turn is over goes on in another, once everybody else has had the machine's
lock. All that software says in memory is read once and checked. Memory that is not there is an
error of the whole controller, which stops until it is reset (HSE).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from bimetal.base.clock import Clock
from bimetal.base.state import BadState
from bimetal.devices.output import Out
from bimetal.devices.register import Reg, RegArray, Value
from bimetal.devices.usb.device import UsbDevice
from bimetal.devices.usb.hub import UsbHub, everything
from bimetal.devices.usb.route import last, parent
from bimetal.devices.usb.xhci.capabilities import (
    DOORBELLS,
    INTERRUPTERS,
    OPERATIONAL,
    PORTS,
    RUNTIME,
    SLOTS,
    Capabilities,
)
from bimetal.devices.usb.xhci.commands import CommandRing
from bimetal.devices.usb.xhci.events import SEGMENTS_LIMIT, Interrupter
from bimetal.devices.usb.xhci.ports import RootHub
from bimetal.devices.usb.xhci.slot import Endpoint, EndpointState, Slot
from bimetal.devices.usb.xhci.transfers import Transfers
from bimetal.devices.usb.xhci.trb import Code, Kind
from bimetal.memory.access import Access
from bimetal.memory.space import AddressSpace, BadAddress

__all__ = ["Controller"]

MMIO_SIZE = 0x4000

RUN, RESET, INTERRUPTS = 1 << 0, 1 << 1, 1 << 2
STORE, RESTORE = 1 << 8, 1 << 9
COMMAND_BITS = 0xD0D
HALTED, HOST_ERROR, EVENT, PORT_EVENT, RESTORE_ERROR = 1 << 0, 1 << 2, 1 << 3, 1 << 4, 1 << 10
CLEARED = HOST_ERROR | EVENT | PORT_EVENT | RESTORE_ERROR
STOP, ABORT, COMMANDS_RUN = 1 << 1, 1 << 2, 1 << 3
IP, IE, BUSY = 1, 2, 1 << 3
MICROFRAME_NS, MICROFRAMES = 125_000, 1 << 14

TURN = 8 << 20
"""Bytes that are moved before others get a turn, see `bimetal.devices.virtio.device`."""

COMMANDS = (0, 0)
"""Slot and endpoint that stand for the ring of commands."""


class Controller(Capabilities):
    """The register file of a controller with ``slow`` ports of USB 2 and ``fast`` ones of USB 3.

    Rings and buffers lie in ``space``; ``defer`` has a function called soon with the machine's lock
    given up in between, and without it all turns are taken at once.
    """

    kind = "xhci"
    mmio_size = MMIO_SIZE
    access = Access(sizes=(1, 2, 4, 8))
    saved = ("devices", "hub", "slots", "interrupters", "commands", "is_stored")
    fixed = ("clock", "space", "_transfers", "_defer")
    derived = ("_due", "_at_work", "_waiting")

    USBCMD = Reg(OPERATIONAL, writable=COMMAND_BITS, RUN=0, INTERRUPTS=2)
    USBSTS = Reg(OPERATIONAL + 0x04, writable=0, reset=HALTED)
    PAGESIZE = Reg(OPERATIONAL + 0x08, readonly=True, reset=1)
    DNCTRL = Reg(OPERATIONAL + 0x14, writable=0xFFFF)
    CRCR = Reg(OPERATIONAL + 0x18, 8, writable=0)
    DCBAAP = Reg(OPERATIONAL + 0x30, 8, writable=~63 & (1 << 64) - 1)
    CONFIG = Reg(OPERATIONAL + 0x38, writable=0xFF)
    PORTSC = RegArray(PORTS, "ports", 16, writable=0)
    PORTPMSC = RegArray(PORTS + 4, "ports", 16)
    PORTLI = RegArray(PORTS + 8, "ports", 16, readonly=True)
    PORTHLPMC = RegArray(PORTS + 12, "ports", 16)

    MFINDEX = Reg(RUNTIME, readonly=True)
    IMAN = RegArray(RUNTIME + 0x20, INTERRUPTERS, 32, writable=0)
    IMOD = RegArray(RUNTIME + 0x24, INTERRUPTERS, 32, reset=4000)
    ERSTSZ = RegArray(RUNTIME + 0x28, INTERRUPTERS, 32, writable=0)
    ERSTBA = RegArray(RUNTIME + 0x30, INTERRUPTERS, 32, 8, writable=~63 & (1 << 64) - 1)
    ERDP = RegArray(RUNTIME + 0x38, INTERRUPTERS, 32, 8, writable=~15 & (1 << 64) - 1)

    DOORBELL = RegArray(DOORBELLS, SLOTS + 1, writable=0)

    interrupt = Out(int, doc="the number of an interrupter that begins or ends to want attention")

    def __init__(
        self,
        space: AddressSpace,
        clock: Clock,
        slow: int,
        fast: int,
        defer: Callable[[Callable[[], None]], None] | None = None,
    ):
        self.space, self.clock, self._defer = space, clock, defer
        self.devices: dict[int, UsbDevice] = {}
        """What is in its own sockets."""
        self.hub = RootHub(slow, fast, self.devices, self._port_changed)
        self.slots = [Slot() for _ in range(SLOTS + 1)]
        """By number; software does not use the first."""
        self.interrupters = [
            Interrupter(space, partial(self._tell, number)) for number in range(INTERRUPTERS)
        ]
        self.commands = CommandRing(self)
        self._transfers = Transfers(self)
        self.is_stored = False
        """Whether software has had the state stored, and it is still there."""
        self._due: dict[tuple[int, int], None] = {}
        """Slots and endpoints that may have something to do, in the order of their turns."""
        self._at_work = self._waiting = False
        super().__init__(slow, fast)
        self.hub.reset()

    # The devices

    def plug(self, device: UsbDevice, place: int) -> None:
        """Plug ``device`` into a free place (`route`), and tell software. ValueError if that cannot
        be."""
        device.events = self.events
        device.ready = partial(self._ready, device)
        hub = self._hub_of(place)
        device.wake = partial(hub.roused, last(place))
        hub.plug(device, last(place))

    def unplug(self, place: int) -> UsbDevice:
        """Take away the device there, and tell software. KeyError if there is none."""
        return self._hub_of(place).unplug(last(place))

    def everything(self) -> dict[int, UsbDevice]:
        """All devices, those behind hubs too, by place."""
        return dict(everything(self.devices))

    def _hub_of(self, place: int) -> RootHub | UsbHub:
        """The hub that a place is at. Raises KeyError."""
        found = self.everything()[parent(place)] if parent(place) else self.hub
        if not isinstance(found, RootHub | UsbHub):
            raise KeyError(place)
        return found

    def _ready(self, device: UsbDevice, address: int) -> None:
        """An endpoint of ``device`` is worth asking again."""
        number = (address & 15) << 1 | address >> 7
        for slot, each in enumerate(self.slots):
            if not each.enabled or number not in each.endpoints:
                continue
            if self.hub.speaks(each.port, each.route) is device:
                self.look(slot, number)

    def _port_changed(self, port: int) -> None:
        self.USBSTS |= PORT_EVENT
        if self.runs:
            self.post(0, Kind.PORT_CHANGE, port << 24, Code.SUCCESS << 24, 0)

    # Work

    @property
    def runs(self) -> bool:
        """Whether software lets it work."""
        return not self.USBSTS & HALTED

    def post(
        self,
        interrupter: int,
        kind: Kind,
        parameter: int,
        status: int,
        control: int,
        quietly: bool = False,
    ) -> None:
        """Tell software of an event, by the interrupter of that number."""
        try:
            told = self.interrupters[interrupter % INTERRUPTERS].post(
                kind, parameter, status, control, quietly
            )
            if not told:
                self.guest_error("a USB host controller has no room for its events")
        except BadAddress as error:
            self.fail(error)

    def fail(self, error: BadAddress) -> None:
        """Software speaks of memory that is not there: stop (4.24.1)."""
        self.guest_error("a USB host controller was led to what is not memory", str(error))
        self.USBSTS |= HALTED | HOST_ERROR
        self.USBCMD = self.USBCMD & ~RUN
        self.commands.running = False

    def stopped(self, slot: int, endpoint: Endpoint) -> None:
        """Software stops an endpoint: it hears of the transfer that waits there. Raises
        `BadAddress`."""
        self._transfers.stopped(slot, endpoint)

    def look(self, slot: int, endpoint: int) -> None:
        """Work on what that endpoint has to do, and on others; 0 and 0 stand for commands."""
        self._due[slot, endpoint] = None
        self._work()

    def _work(self) -> None:
        if self._at_work or self._waiting:
            return
        self._at_work, left = True, TURN
        try:
            while self._due and self.runs and not self._is_full():
                if left <= 0 and self._defer is not None:
                    self._waiting = True
                    self._defer(self._next_turn)
                    return
                key = next(iter(self._due))
                del self._due[key]
                cost = self._step(*key)
                if cost is not None:
                    left -= cost
                    self._due[key] = None
        except BadAddress as error:
            self.fail(error)
        finally:
            self._at_work = False

    def _next_turn(self) -> None:
        self._waiting = False
        self._work()

    def _step(self, slot: int, endpoint: int) -> int | None:
        """Do one thing; what it counts for, None if there is nothing to do."""
        if (slot, endpoint) == COMMANDS:
            return self.commands.step()
        return self._transfers.step(slot, endpoint)

    def _is_full(self) -> bool:
        """Whether an event waits until software has taken others."""
        return any(each.waiting for each in self.interrupters)

    # Interrupts

    def _tell(self, number: int) -> None:
        """Interrupter ``number`` has something to tell."""
        self.USBSTS |= EVENT
        self.interrupt(number)

    def wants(self, number: int) -> bool:
        """Whether interrupter ``number`` is to interrupt."""
        each = self.interrupters[number]
        return each.pending and each.enabled and bool(self.USBCMD.INTERRUPTS)

    def delivered(self, number: int) -> None:
        """Its interrupt went out as a message."""
        self.interrupters[number].pending = False

    # Registers

    def w_USBCMD(self, written: Value) -> None:
        if written & RESET:
            self.reset()
            return
        if written & STORE:
            self.is_stored = True
        if written & RESTORE and not self.is_stored:
            self.USBSTS |= RESTORE_ERROR
        self.USBCMD = self.USBCMD & ~(STORE | RESTORE)
        if written.RUN and not self.runs and not self.USBSTS & HOST_ERROR:
            self.USBSTS &= ~HALTED
            for port in self.hub.news():
                self._port_changed(port)
            self._look_everywhere()
        elif not written.RUN:
            self.USBSTS |= HALTED
            self.commands.running = False
        for number in range(INTERRUPTERS):
            self.interrupt(number)

    def w_USBSTS(self, written: Value) -> None:
        self.USBSTS &= ~(written & CLEARED)

    def r_CRCR(self) -> int:
        return COMMANDS_RUN * self.commands.running

    def k_CRCR(self) -> int:
        return self.commands.ring.word

    def w_CRCR(self, written: Value) -> None:
        if not self.commands.running:
            self.commands.ring_at(int(written))
        elif written & (STOP | ABORT):
            self.commands.stop()

    def r_PORTSC(self, index: int) -> int:
        return self.hub.status[index]

    def k_PORTSC(self, index: int) -> int:
        return 0

    def w_PORTSC(self, index: int, written: Value) -> None:
        self.hub.written(index + 1, int(written))

    def r_MFINDEX(self) -> int:
        return self.clock.now_ns() // MICROFRAME_NS % MICROFRAMES if self.runs else 0

    def r_IMAN(self, index: int) -> int:
        each = self.interrupters[index]
        return IP * each.pending | IE * each.enabled

    def k_IMAN(self, index: int) -> int:
        return self.r_IMAN(index) & ~IP

    def w_IMAN(self, index: int, written: Value) -> None:
        each = self.interrupters[index]
        each.enabled = bool(written & IE)
        if written & IP:
            each.pending = False
        self.interrupt(index)

    def r_ERSTSZ(self, index: int) -> int:
        return self.interrupters[index].segments

    def w_ERSTSZ(self, index: int, written: Value) -> None:
        self.interrupters[index].segments = min(written & 0xFFFF, SEGMENTS_LIMIT)

    def w_ERSTBA(self, index: int, written: Value) -> None:
        each = self.interrupters[index]
        each.table = self.ERSTBA[index]
        each.begin()

    def r_ERDP(self, index: int) -> int:
        each = self.interrupters[index]
        return each.dequeue | BUSY * each.busy

    def k_ERDP(self, index: int) -> int:
        return self.interrupters[index].dequeue

    def w_ERDP(self, index: int, written: Value) -> None:
        try:
            self.interrupters[index].advance(written & ~15, finished=bool(written & BUSY))
        except BadAddress as error:
            self.fail(error)
        self._work()

    def w_DOORBELL(self, index: int, written: Value) -> None:
        endpoint = written & 0xFF
        if not self.runs:
            self.guest_error("a doorbell of a controller that does not run")
        elif index == 0:
            self.commands.running = True
            self.look(*COMMANDS)
        elif endpoint in self.slots[index].endpoints:
            each = self.slots[index].endpoints[endpoint]
            if each.state == EndpointState.STOPPED:
                self.commands.become(index, each, EndpointState.RUNNING)
            self.look(index, endpoint)
        else:
            self.guest_error("a doorbell of an endpoint that software has not set up")

    # State

    def reset(self) -> None:
        super().reset()
        self.is_stored = False
        self._due.clear()
        for slot in self.slots:
            slot.release()
        for each in self.interrupters:
            each.reset()
        self.commands.reset()
        self.hub.reset()
        for number in range(INTERRUPTERS):
            self.interrupt(number)

    def restored(self) -> None:
        if not all(isinstance(device, UsbDevice) for device in self.everything().values()):
            raise BadState("devices on USB that are not plugged in")
        super().restored()
        self._due = dict.fromkeys(self._everywhere())
        self._at_work = self._waiting = False
        if self._defer is not None and self._due:
            self._waiting = True
            self._defer(self._next_turn)

    def _look_everywhere(self) -> None:
        self._due.update(dict.fromkeys(self._everywhere()))
        self._work()

    def _everywhere(self) -> Iterator[tuple[int, int]]:
        """Everything that may have something to do."""
        if self.commands.running:
            yield COMMANDS
        for number, slot in enumerate(self.slots):
            for endpoint in slot.endpoints:
                yield number, endpoint
