"""A GICv3 beside QEMU's: random words to its registers in memory, and commands of its ITS.

QEMU's CPUs stand still, so what they see is told by the registers alone: the CPU interfaces, which
are system registers, have conversations of their own in `irq/gic/test_v3.py`.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator

import pytest

from bimetal.devices.irq.gic.v3_distributor import Gicv3Distributor
from bimetal.devices.irq.gic.v3_its import Gicv3Its
from bimetal.devices.irq.gic.v3_private import Gicv3Private
from bimetal.devices.irq.gic.v3_redistributor import Gicv3Redistributor
from bimetal.memory.ram import Ram
from bimetal.memory.space import AddressSpace
from tests.devices.qtest import Qtest
from tests.devices.test_like_qemu import Pair
from tests.host import programs

pytestmark = programs("qemu-system-aarch64")

GICD, ITS, GICR, FRAME = 0x0800_0000, 0x0808_0000, 0x080A_0000, 0x1_0000
CPUS = 2
RAM = 0x4000_0000
CONFIGURATION, PENDING, QUEUE, DEVICES, COLLECTIONS, EVENTS = (
    RAM + offset for offset in (0x1_0000, 0x2_0000, 0x4_0000, 0x5_0000, 0x6_0000, 0x10_0000)
)
VALID = 1 << 63


@pytest.fixture
def qemu() -> Iterator[Qtest]:
    options = ("-cpu", "cortex-a57", "-smp", str(CPUS), "-m", "128M")
    peer = Qtest("qemu-system-aarch64", "virt,gic-version=3,its=on", *options)
    yield peer
    peer.close()


class Gic:
    """A GICv3 of two CPUs, here and there."""

    def __init__(self, qemu: Qtest, seed: int):
        self.qemu, self.chance = qemu, random.Random(seed)
        self.ram = Ram("ram", 8 << 20)
        space = AddressSpace()
        space.add_memory(self.ram, RAM)
        privates = [Gicv3Private(cpu, cpu) for cpu in range(CPUS)]
        redistributors = [
            Gicv3Redistributor(each, space, last=each.cpu == CPUS - 1, lpis=True)
            for each in privates
        ]
        gicd = Gicv3Distributor(privates, 256, lpis=True)
        its = Gicv3Its(redistributors, space, lambda later: later())
        self.distributor, self.its = Pair(qemu, GICD, gicd), Pair(qemu, ITS, its)
        self.lpis = [
            Pair(qemu, GICR + 2 * cpu * FRAME, each) for cpu, each in enumerate(redistributors)
        ]
        self.privates = [
            Pair(qemu, GICR + (2 * cpu + 1) * FRAME, each) for cpu, each in enumerate(privates)
        ]
        self.written = 0

    def poke(self, address: int, data: bytes) -> None:
        """Write to memory, here and there."""
        self.ram.bytes[address - RAM : address - RAM + len(data)] = data
        self.qemu.command(f"write {address:#x} {len(data):#x} 0x{data.hex()}")

    def command(self, *words: int) -> None:
        """Let the ITS carry out a command."""
        self.poke(QUEUE + self.written, struct.pack("<4Q", *words, *[0] * (4 - len(words))))
        self.written = (self.written + 32) % 0x1000
        self.its.write(0x88, self.written, 8)
        self.its.agree(0x90, size=8)


class Interrupts:
    """Random words about interrupts that are no LPIs."""

    WORDS = (0x80, 0x100, 0x180, 0x200, 0x280, 0x300, 0x380)

    def __init__(self, gic: Gic):
        self.gic, self.chance = gic, gic.chance

    def step(self) -> None:
        steps: list[tuple[int, Callable[[], None]]] = [
            (40, self.some_bits), (15, self.a_priority), (8, self.triggers), (8, self.a_route),
            (4, self.controls),
        ]  # fmt: skip
        weights, actions = zip(*steps, strict=True)
        self.chance.choices(actions, weights)[0]()

    def pair(self) -> tuple[Pair, int]:
        """A frame, and how many words of its interrupts to choose from."""
        pairs = [(self.gic.distributor, 8), *((each, 1) for each in self.gic.privates)]
        return self.chance.choice(pairs)

    def some_bits(self) -> None:
        pair, words = self.pair()
        offset = self.chance.choice(self.WORDS) + 4 * self.chance.randrange(words)
        few, many = 1 << self.chance.randrange(32), self.chance.getrandbits(32)
        pair.write(offset, self.chance.choice([few, many & self.chance.getrandbits(32), many]))

    def a_priority(self) -> None:
        pair, words = self.pair()
        pair.write(0x400 + self.chance.randrange(32 * words), self.chance.getrandbits(8), 1)

    def triggers(self) -> None:
        pair, words = self.pair()
        which = 1 + self.chance.randrange(2 * words - 1)
        pair.write(0xC00 + 4 * which, self.chance.getrandbits(32) & 0xAAAA_AAAA)

    def a_route(self) -> None:
        place = 0x6100 + 8 * self.chance.randrange(224)
        affinity = self.chance.choice([0, 1, 2, 0x100, self.chance.getrandbits(24)])
        if self.chance.random() < 0.5:
            self.gic.distributor.write(place, affinity, 8)
        else:
            self.gic.distributor.write(place, affinity)
        self.gic.distributor.agree(place, size=8)
        self.gic.distributor.agree(place, place + 4)

    def controls(self) -> None:
        self.gic.distributor.write(0, self.chance.randrange(4))
        self.gic.lpis[self.chance.randrange(CPUS)].write(0x14, self.chance.choice([0, 2]))

    def agree(self) -> None:
        words = range(8)
        self.gic.distributor.agree(
            0, *(register + 4 * n for register in self.WORDS for n in words),
            *(0xC00 + 4 * n for n in range(16)), 0xD04, 0xE08,
            0x400 + 4 * self.chance.randrange(64),
        )  # fmt: skip
        for frame in self.gic.privates:
            frame.agree(*self.WORDS, 0xC00, 0xC04, *range(0x400, 0x420, 4), 0xD00, 0xE00)
        for frame in self.gic.lpis:
            frame.agree(0, 0x14)


@pytest.mark.parametrize("seed", range(3))
def test_a_gicv3(qemu: Qtest, seed: int) -> None:
    """But for GICD_TYPER, where QEMU has 32 SPIs less than its board, and the last of these."""
    gic = Gic(qemu, seed)
    ours, theirs = gic.distributor.read(4)
    assert (ours, theirs) == (theirs + 1, theirs)
    gic.distributor.agree(8, 0x10, 0x40, *range(0xFFD0, 0x1_0000, 4))
    for frame in gic.lpis:
        frame.agree(4, *range(0xFFD0, 0x1_0000, 4))
        frame.agree(8, 0x70, 0x78, size=8)
    interrupts = Interrupts(gic)
    for _ in range(200):
        interrupts.step()
        interrupts.agree()


class Translator:
    """Random commands for the ITS, some of which mean nothing.

    What comes of them are LPIs that are pending, as the tables in memory say. Not done: to map an
    event, a device or a collection anew that is mapped, to unmap what is not, and commands for
    redistributors that there are not, on which nobody may rely.
    """

    def __init__(self, gic: Gic):
        self.gic, self.chance = gic, gic.chance
        self.collections: set[int] = set()
        self.devices: set[int] = set()
        self.events: set[tuple[int, int]] = set()
        gic.poke(CONFIGURATION, bytes(self.chance.getrandbits(8) for _ in range(64)))
        for frame in gic.lpis:
            frame.write(0x70, CONFIGURATION | 13, 8)
            frame.write(0x78, PENDING + 0x1_0000 * gic.lpis.index(frame), 8)
            frame.write(0, 1)
            frame.agree(0)
        gic.its.write(0x80, VALID | QUEUE, 8)
        gic.its.write(0x100, VALID | DEVICES, 8)
        gic.its.write(0x108, VALID | COLLECTIONS, 8)
        gic.its.write(0, 1)
        gic.its.agree(0)
        gic.its.agree(0x80, 0x88, 0x90, 0x100, 0x108, *range(0x110, 0x140, 8), size=8)

    def step(self) -> None:
        steps: list[tuple[int, Callable[[], None]]] = [
            (8, self.a_collection), (8, self.a_device), (30, self.an_event),
            (50, self.about_an_event), (10, self.about_collections), (10, self.a_message),
        ]  # fmt: skip
        weights, actions = zip(*steps, strict=True)
        self.chance.choices(actions, weights)[0]()

    def a_collection(self) -> None:
        number = self.chance.randrange(4)
        if number not in self.collections:
            self.collections.add(number)
            self.gic.command(9, 0, VALID | self.chance.randrange(CPUS) << 16 | number)

    def a_device(self) -> None:
        number = self.chance.randrange(4)
        if number not in self.devices:
            self.devices.add(number)
            self.gic.command(8 | number << 32, 3, VALID | EVENTS + 0x1_0000 * number)

    def an_event(self) -> None:
        device, event = self.chance.randrange(4), self.chance.randrange(18)
        lpi = self.chance.choice([8192 + event + 16 * device, 8191, 8192 + 16 * device])
        if (device, event) in self.events or lpi < 8192 or device not in self.devices:
            return
        if event < 16:
            self.events.add((device, event))
        self.gic.command(10 | device << 32, lpi << 32 | event, self.chance.randrange(4))

    def about_an_event(self) -> None:
        device, event = self.chance.choice([*self.events, (0, 17), (5, 0)])
        opcode = self.chance.choice([1, 3, 3, 3, 3, 4, 12, 15])
        if opcode == 15:
            if (device, event) not in self.events:
                return
            self.events.remove((device, event))
        if opcode == 1 and not self.collections:
            return
        collection = self.chance.choice([*self.collections]) if opcode == 1 else 0
        self.gic.command(opcode | device << 32, event, collection)

    def about_collections(self) -> None:
        one, other = self.chance.randrange(CPUS), self.chance.randrange(CPUS)
        match self.chance.randrange(3):
            case 0:
                self.gic.command(14, 0, one << 16, other << 16)
            case 1 if self.collections:
                self.gic.command(13, 0, self.chance.choice([*self.collections]))
            case 2:
                self.gic.command(5, 0, one << 16)

    def a_message(self) -> None:
        self.gic.its.write(0x1_0040, self.chance.randrange(18))

    def agree(self) -> None:
        for cpu in range(CPUS):
            table = PENDING + 0x1_0000 * cpu + 1024
            ours = bytes(self.gic.ram.bytes[table - RAM : table - RAM + 16])
            theirs = bytes.fromhex(self.gic.qemu.command(f"read {table:#x} 16")[2:])
            assert ours == theirs, f"pending for CPU {cpu}"


@pytest.mark.parametrize("seed", range(3))
def test_an_its(qemu: Qtest, seed: int) -> None:
    """But for the size of an entry of an interrupt: 8 bytes here, 12 there."""
    gic = Gic(qemu, seed)
    ours, theirs = gic.its.read(8, 8)
    assert ours ^ theirs == (11 ^ 7) << 4
    gic.its.agree(0, 4, *range(0xFFD0, 0x1_0000, 4))
    gic.its.agree(*range(0x100, 0x140, 8), size=8)
    translator = Translator(gic)
    for _ in range(400):
        translator.step()
        translator.agree()
