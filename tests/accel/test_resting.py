"""What an idle guest gives back: decoded pages, and the translator's process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bimetal.accel.jit import JitAccelerator, JitCpu
from bimetal.accel.resting import FEW, PERIOD, WORTH, Resting
from bimetal.base.clock import RealClock
from bimetal.codegen.policy import Policy
from bimetal.isa.riscv import rv64
from bimetal.memory.contents import touched
from bimetal.memory.ram import Ram
from bimetal.seam import Kicked, MemorySlot, Mmio

BASE, PAGES = 0x8000_0000, 300
SIZE = (PAGES + 1) * 4096
ALWAYS = Policy(wait=True)
"""No thread looks at the vCPU: the test does."""


class Pages:
    """A vCPU as far as it is looked at."""

    def __init__(self, count: int):
        self.count = count

    def pages(self) -> int:
        return self.count

    def give_back(self) -> None:
        self.count = 0


def test_a_guest_is_idle_that_takes_few_samples_for_a_period() -> None:
    resting = Resting()
    assert not resting.due(0, 100)  # the first look
    assert not resting.due(FEW, 100 + PERIOD / 2)
    assert resting.due(0, 100 + PERIOD)
    assert not resting.due(FEW, 100 + 1.5 * PERIOD)
    assert not resting.due(1, 100 + 2 * PERIOD)
    assert resting.due(FEW, 100 + 3 * PERIOD)


def test_what_is_needed_while_idle_is_kept() -> None:
    resting, busy, idle = Resting(), Pages(2000), Pages(WORTH)
    assert not resting.pays([idle])
    assert resting.pays([busy, idle])
    busy.count = 2 * WORTH  # what it decodes again meanwhile
    assert not resting.pays([busy, idle])
    assert not resting.pays([busy, idle])
    busy.count += WORTH + 1
    assert resting.pays([busy, idle])


@pytest.fixture
def accelerator() -> Iterator[tuple[JitAccelerator, JitCpu]]:
    """An accelerator whose vCPU has a way through many pages before it, each of which adds 1 to a0;
    at its end it writes to a device, and begins anew."""
    ram = Ram("ram", SIZE)
    for page in range(PAGES):
        here = BASE + 4096 * page
        lines = ["addi a0, a0, 1", f"jal zero, {here + 4096:#x}"]
        code = b"".join(rv64.assemble(line, here + 4 * n) for n, line in enumerate(lines))
        ram.bytes[4096 * page : 4096 * page + len(code)] = code
    code = b"".join(rv64.assemble(line) for line in ("sw a0, 0(zero)", "jalr zero, 0(s0)"))
    ram.bytes[4096 * PAGES : 4096 * PAGES + len(code)] = code
    made = JitAccelerator("riscv64", clock=RealClock(), policy=ALWAYS)
    made.set_memory([MemorySlot(BASE, SIZE, ram.host)])
    cpu = made.add_cpu(0)
    cpu.write_register("pc", BASE)
    cpu.write_register("s0", BASE)
    yield made, cpu
    made.close()
    ram.close()


def told(cpu: JitCpu) -> int:
    """What the guest writes next."""
    exit_ = cpu.run()
    assert isinstance(exit_, Mmio)
    return exit_.value


def decoded_bytes(cpu: JitCpu) -> int:
    """Bytes of the host's memory that decoded pages take."""
    start, size = cpu.areas()[0]
    return sum(high - low for low, high in touched(start, size))


def test_decoded_pages_are_given_back_and_decoded_again(
    accelerator: tuple[JitAccelerator, JitCpu],
) -> None:
    _, cpu = accelerator
    for lap in (1, 2):
        assert told(cpu) == lap * PAGES
        assert cpu.pages() == PAGES + 1
        assert decoded_bytes(cpu) > PAGES * 32 << 10
        cpu.give_back()
    assert told(cpu) == 3 * PAGES
    assert cpu.counters["pages decoded"] == 3 * (PAGES + 1)


def test_what_was_given_back_is_the_hosts(
    accelerator: tuple[JitAccelerator, JitCpu],
) -> None:
    _, cpu = accelerator
    told(cpu)
    cpu.give_back()
    cpu.kick()
    assert isinstance(cpu.run(), Kicked)
    assert cpu.pages() < 3
    assert decoded_bytes(cpu) < 1 << 20
    assert cpu.read_register("a0") == PAGES


def test_an_idle_guest_ends_the_translator_and_forgets_pages_but_not_what_was_hot(
    accelerator: tuple[JitAccelerator, JitCpu],
) -> None:
    made, cpu = accelerator
    told(cpu)
    tiering = made.tiering
    tiering.attend(cpu)
    assert tiering.remembered > 0
    tiering._rest()
    cpu.kick()
    cpu.run()
    assert cpu.pages() < 3
    assert tiering.remembered < 3
    assert tiering._orders._worker is None
