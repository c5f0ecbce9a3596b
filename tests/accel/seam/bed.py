"""A bed: one accelerator with a little memory and CPUs, as the seam suite sees it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from bimetal.memory.ram import Ram
from bimetal.seam import Accelerator, Cpu, MemorySlot
from tests.accel.seam.guests import Program, Step

__all__ = ["Bed", "Board"]

RAM_SIZE = 2 << 20


class Board:
    """A machine of one test: RAM at ``bed.ram``, and CPUs that run programs."""

    def __init__(self, bed: Bed, accelerator: Accelerator):
        self.bed, self.accelerator = bed, accelerator
        self.ram = Ram("ram", RAM_SIZE)
        self.slots = [MemorySlot(bed.ram, RAM_SIZE, self.ram.host)]
        accelerator.set_memory(self.slots)

    def cpu(self, program: Program, index: int = 0) -> Cpu:
        """CPU ``index``, about to run ``program``."""
        cpu = self.accelerator.add_cpu(index)
        self.bed.prepare(self, cpu, program)
        return cpu

    def write(self, address: int, data: bytes) -> None:
        """Put ``data`` into RAM at a guest-physical address."""
        offset = address - self.bed.ram
        self.ram.bytes[offset : offset + len(data)] = data

    def read(self, address: int, size: int) -> bytes:
        """RAM at a guest-physical address."""
        offset = address - self.bed.ram
        return bytes(self.ram.bytes[offset : offset + size])

    def close(self) -> None:
        """Give everything back."""
        self.accelerator.close()
        self.ram.close()


class Bed(ABC):
    """An accelerator under test, and how programs become its code.

    ``ram`` is where memory starts, ``device`` an address where there is none, ``line`` the
    interrupt line that leads to a program's handler, ``scratch`` a register that programs do not
    use. ``missing`` says which features the accelerator lacks here, and why.
    """

    name: str
    ram: int
    device: int
    line: int
    pc: str
    scratch: str
    missing: Mapping[str, str] = {}

    @abstractmethod
    def accelerator(self, cpus: int) -> Accelerator:
        """A new one for ``cpus`` CPUs."""

    @abstractmethod
    def prepare(self, board: Board, cpu: Cpu, program: Program) -> None:
        """Put the code of ``program`` into memory and let ``cpu`` start at its first step."""

    @abstractmethod
    def entry(self, index: int) -> int:
        """The address of the first step of the program on CPU ``index``."""

    @contextmanager
    def board(self, cpus: int = 1) -> Iterator[Board]:
        """A board for one test."""
        board = Board(self, self.accelerator(cpus))
        try:
            yield board
        finally:
            board.close()

    def free(self, page: int = 0) -> int:
        """Page ``page`` of the memory that programs are free to use."""
        return self.ram + RAM_SIZE // 2 + 4096 * page


def text_of(steps: tuple[Step, ...], write: Callable[[Step], list[str]]) -> list[str]:
    """The assembly text of all ``steps``."""
    return [line for step in steps for line in write(step)]
