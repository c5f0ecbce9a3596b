"""Programs that go through lists of orders: change the address space, load, store, call, change
page tables, fence; and what they are to find. The instruction set is a subclass's."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod

from bimetal.memory.ram import Ram

__all__ = ["GLOBAL_PAGES", "PAGES", "Spaces"]

SIZE = 0x20_0000
FRAME_COUNT = 40
PAGES, GLOBAL_PAGES = range(6), range(6, 8)
"""Pages of each address space's own, every other one for user mode, and pages of all."""


class Spaces(ABC):
    """``count`` address spaces with three tables each, in ``ram`` at `base`. A page of a frame
    begins with a value, and behind it a function that returns the frame's number."""

    base: int
    verbs: tuple[str, ...]

    def __init__(self, ram: Ram, count: int, kernel_global: bool):
        self.ram, self.count, self.kernel_global = ram, count, kernel_global
        base = self.base
        self.code, self.orders_at, self.found_at = base, base + 0x1_0000, base + 0x4_0000
        self.tables, self.frames_at = base + 0x8_0000, base + 0x10_0000
        self.orders: list[tuple[str, int, int]] = []
        self.wanted: list[int] = []
        self.values = [1000 + frame for frame in range(FRAME_COUNT)]
        self.frames: list[dict[int, int]] = [{} for _ in range(count)]
        self.now = 0
        for frame, value in enumerate(self.values):
            self.put(self.frames_at + frame * 4096, value)
            self.put_bytes(self.frames_at + frame * 4096 + 8, self.function(frame))
        for space in range(count):
            self._map(space)
        self.enter(0)

    def _map(self, space: int) -> None:
        root, shared = self.root(space), self.root(self.count)
        self.put(root + 8 * (self.base >> 30), self.kernel())
        self.put(root, self.pointer(root + 0x1000))
        self.put(root + 0x1000, self.pointer(root + 0x2000))
        self.put(root + 0x1008, self.pointer(shared))
        for page in (*PAGES, *GLOBAL_PAGES):
            frame = page if page in GLOBAL_PAGES else (space * len(PAGES) + page) % FRAME_COUNT
            self.frames[space][page] = frame
            self.put(self.slot(space, page), self.leaf(page, frame))

    # -- what an instruction set has
    @abstractmethod
    def pointer(self, table: int) -> int:
        """An entry that leads to a table."""

    @abstractmethod
    def kernel(self) -> int:
        """An entry of the first table that maps memory to itself."""

    @abstractmethod
    def leaf(self, page: int, frame: int) -> int:
        """An entry of the last table, see `kind`."""

    @abstractmethod
    def function(self, frame: int) -> bytes:
        """Instructions that return a number."""

    @abstractmethod
    def enter(self, space: int) -> None:
        """Change the address space."""
        self.now = space

    @abstractmethod
    def remap(self, space: int, page: int, frame: int, chance: random.Random) -> None:
        """Change an entry, and fence as this is done, in one of the ways that are enough."""
        for frames in self.frames if page in GLOBAL_PAGES else [self.frames[space]]:
            frames[page] = frame

    @abstractmethod
    def run(self) -> list[int]:
        """What the program found."""

    # -- memory
    def put_bytes(self, address: int, data: bytes) -> None:
        self.ram.bytes[address - self.base : address - self.base + len(data)] = data

    def put(self, address: int, word: int) -> None:
        self.put_bytes(address, word.to_bytes(8, "little"))

    def words(self, address: int, count: int) -> list[int]:
        data = self.ram.bytes[address - self.base : address - self.base + 8 * count]
        return [int.from_bytes(data[n : n + 8], "little") for n in range(0, 8 * count, 8)]

    def root(self, space: int) -> int:
        """Where an address space's tables lie."""
        return self.tables + space * 0x3000

    def slot(self, space: int, page: int) -> int:
        """Where the entry of a page lies."""
        if page in GLOBAL_PAGES:
            return self.root(self.count) + (page - GLOBAL_PAGES[0]) * 8
        return self.root(space) + 0x2000 + page * 8

    @staticmethod
    def of_user(page: int) -> bool:
        return page in PAGES and page % 2 == 1

    @staticmethod
    def address(page: int) -> int:
        return page << 12 if page in PAGES else (page - GLOBAL_PAGES[0] << 12) + 0x20_0000

    # -- orders
    def order(self, verb: str, a: int = 0, b: int = 0) -> None:
        self.orders.append((verb, a, b))

    def load(self, page: int) -> None:
        self.order("load of user" if self.of_user(page) else "load", self.address(page))
        self.wanted.append(self.values[self.frames[self.now][page]])

    def store(self, page: int, value: int) -> None:
        self.order("store of user" if self.of_user(page) else "store", self.address(page), value)
        self.values[self.frames[self.now][page]] = value

    def call(self, page: int) -> None:
        self.order("call", self.address(page) + 8)
        self.wanted.append(self.frames[self.now][page])

    def put_orders(self, places: dict[str, int]) -> None:
        """Put the list into memory, given where the code for each verb begins."""
        for n, (verb, a, b) in enumerate([*self.orders, ("end", 0, 0)]):
            for place, word in enumerate((places[verb], a, b)):
                self.put(self.orders_at + 32 * n + 8 * place, word)

    def at_random(self, seed: int, count: int) -> None:
        """Give orders, each valid by itself: what the manual leaves open is not asked for."""
        chance = random.Random(seed)
        for _ in range(count):
            page = chance.choice((*PAGES, *GLOBAL_PAGES))
            match chance.choice("eelllllsscm"):
                case "e":
                    self.enter(chance.randrange(self.count))
                case "l":
                    self.load(page)
                case "s":
                    self.store(page, chance.getrandbits(63))
                case "c":
                    self.call(chance.choice((0, 2, 4, *GLOBAL_PAGES)))
                case "m":
                    space = chance.randrange(self.count)
                    self.remap(space, page, chance.randrange(FRAME_COUNT), chance)
