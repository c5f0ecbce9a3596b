"""A machine whose time is the count of its instructions: every run of it is the same run.

One hart, no threads, no input. The hart's clock goes on by the instructions that it retires, and
jumps to the next deadline when it halts; devices see the same time, and what they defer is done at
the hart's next exit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from unittest.mock import patch

from bimetal import Payload
from bimetal.accel.choose import described
from bimetal.accel.interp import InterpAccelerator
from bimetal.backends.chars.protocol import Receive, Room
from bimetal.backends.reactor import Reactor
from bimetal.base.clock import Clock, VirtualClock
from bimetal.boards.riscv_virt import riscv_virt
from bimetal.devices.virtio.rng import VirtioRng
from bimetal.machine.chassis import Chassis
from bimetal.machine.config import Config
from bimetal.machine.console import ConsoleLine
from bimetal.machine.gate import VcpuGate
from bimetal.machine.runner import Runner
from bimetal.machine.service import Service
from bimetal.seam import FirmwareCall, Halt, Kicked, Mmio, Shutdown
from tests.turns import Deferred

__all__ = ["Ending", "run"]

NANOSECONDS = 10
"""What an instruction takes."""

START = 1_700_000_000 * 10**9
"""The date at power on, in nanoseconds since 1970."""

Factory = Callable[[Clock], InterpAccelerator]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended: all that can be seen of it."""

    printed: str
    shutdown: tuple[Shutdown, ...]
    instructions: int
    registers: object
    memory: str


class _Paper:
    """A far end of the console that keeps what is printed."""

    where = ""

    def __init__(self) -> None:
        self.printed = bytearray()

    def write(self, data: bytes) -> None:
        """See `CharBackend`."""
        self.printed += data

    def connect(self, receive: Receive, room: Room | None = None) -> None:
        """Nobody types."""

    def resume(self) -> None:
        """Nobody types."""

    def attach(self, reactor: Reactor) -> None:
        """The host has no part in it."""

    def close(self) -> None:
        """Nothing to give back."""


class _Dice:
    """In the place of the host's random numbers, which would make each run another one."""

    def __init__(self) -> None:
        self._numbers = count()

    def __call__(self, size: int) -> bytes:
        return hashlib.shake_128(next(self._numbers).to_bytes(8)).digest(size)


def run(guest: Payload, append: str, make: Factory, limit: int) -> Ending:
    """Boot a guest with one hart and let it run to its end, or for ``limit`` instructions."""
    paper, clock, deferred = _Paper(), VirtualClock(START), Deferred()
    config = Config(
        memory=256 << 20,
        cpus=1,
        kernel=str(guest.kernel),
        initrd=str(guest.initrd),
        append=append,
    )
    processor = described("interp", "riscv64", "")
    chassis = Chassis(config, clock, ConsoleLine(paper), deferred, processor=processor)
    dice = _Dice()
    with patch.object(VirtioRng.__init__, "__defaults__", (dice,)), patch("os.urandom", dice):
        riscv_virt(chassis)
    hardware = chassis.finish()
    gate = VcpuGate()
    accelerator = make(clock)
    runner = Runner(hardware, accelerator, gate, Service(gate, clock))
    ended: list[Shutdown] = []
    hardware.outlets.power.connect(ended.append)
    with patch("os.urandom", dice):
        hardware.boot.load()
        runner.power_on()
    vcpu, hart = runner.vcpus[0], accelerator.cpus[0]
    hart.state.set("clock_rate", 0, NANOSECONDS * 1024)
    waited = 0
    while not ended and hart.instructions < limit:
        exit_ = hart.run()
        clock.advance(waited + hart.instructions * NANOSECONDS - clock.now_ns())
        match exit_:
            case Mmio():
                runner.bus.serve(exit_)
            case FirmwareCall(args=args):
                exit_.results = runner.firmware_call(vcpu, args)
            case Halt(deadline=deadline):
                wakes = [at for at in (deadline, clock.next_deadline()) if at is not None]
                assert wakes, "the guest waits for nothing"
                waited += max(0, min(wakes) - clock.now_ns())
                hart.state.set("clock_origin", 0, waited)
                clock.advance(waited + hart.instructions * NANOSECONDS - clock.now_ns())
            case _:
                assert isinstance(exit_, Kicked), exit_
        while deferred:
            deferred.pop(0)()
    memory = hashlib.sha256()
    for ram in hardware.memories:
        memory.update(ram.bytes)
    ending = Ending(
        paper.printed.decode(),
        tuple(ended),
        hart.instructions,
        hart.save()["registers"],
        memory.hexdigest(),
    )
    runner.close()
    hardware.close()
    return ending
