"""The interpreter as an accelerator: vCPUs in native code, generated from the descriptions.

A vCPU runs in the thread that calls `InterpCpu.run`, without the GIL. Other threads reach it only
through bytes of its state: interrupt lines, a request to stop, a request to flush.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..base.clock import Clock, RealClock
from ..base.errors import BimetalError
from ..base.late import LateModule, late
from ..codegen.builder import COUNTERS
from ..codegen.host import current
from ..codegen.interpreter import Interpreter, interpreter
from ..codegen.layout import MEMORY_SLOTS, PAGE
from ..codegen.policy import USUAL
from ..ir.softfloat import Environment
from ..isa.contract import Architecture, Start
from ..isa.names import architecture
from ..seam import Exit, MemorySlot, Samples
from .cached_pages import cached_place
from .memory import Memory
from .native_exits import NativeExits
from .outside import Onlooker, SeenMemory, read_register, translate, write_register
from .saved import Saved
from .vcpu_state import VcpuState, anonymous

if TYPE_CHECKING:
    from . import fallback
    from .sampler import Sampler
else:
    fallback = LateModule("bimetal.accel.fallback")

__all__ = ["InterpAccelerator", "InterpCpu"]

ARENA_PAGES = 8000
"""Decoded pages of a vCPU, when all are forgotten: a Java program executes 5000."""
SCATTERED = 1 << 16
"""Bytes of a decoded page from which on the host's TLB would lack too many of its small pages."""


def _closed(address: int) -> None:
    """Stands in for native code after `close`: entering it is an error."""
    raise ValueError("the CPU is closed")


class InterpCpu:
    """One vCPU."""

    def __init__(self, architecture: Architecture, start: Start, native: Interpreter, clock: Clock):
        self.index = start.index
        self._architecture, self._native, self._clock = architecture, native, clock
        self._real_clock = clock if isinstance(clock, RealClock) else None
        self._start = start
        self._features = architecture.features(start.model)
        self.state = VcpuState(native.layout)
        self._enter: Callable[[int], None] = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(
            native.library.address("enter")
        )
        self._blank = ctypes.create_string_buffer(native.blank_records())
        self._scattered = native.layout.page_bytes > SCATTERED
        size = ARENA_PAGES * native.layout.page_bytes
        self._arena, arena = anonymous(size, huge=self._scattered)
        self._code_table: mmap.mmap | None = None
        self._peers: ctypes.Array[ctypes.c_uint64] | None = None
        self._memory = Memory()
        state = self.state
        self._args = state.word("leave_args")
        self._origin = state.word("clock_origin")
        self._stop = state.layout.offsets["stop"]
        self._lines = state.layout.offsets[architecture.inputs]
        self._exits = NativeExits(state, architecture)
        for name, value in (
            ("slice", USUAL.slice),
            ("blank_records", ctypes.addressof(self._blank)),
            ("reach", native.library.address("reach")),
            ("arena_start", arena),
            ("arena_next", arena),
            ("arena_end", arena + len(self._arena)),
        ):
            state.set(name, 0, value)
        self.reset()

    # -- running
    def run(self) -> Exit:
        """Run until the board is needed; see `Cpu.run`."""
        exits = self._exits
        exits.settle()
        state, real = self.state, self._real_clock
        if real is not None:
            # The origin changes when the machine pauses.
            state.words[self._origin] = real.origin_ns
        while not state.bytes[self._stop]:
            self._enter(state.address)
            exit_ = exits.left()
            if exit_ is not None:
                return exit_
            self._by_reference()
        state.bytes[self._stop] = 0
        return exits.kicked

    def _by_reference(self) -> None:
        """Execute the current instruction in Python: one that no host supports (rounding ties away
        from zero)."""
        state, floating = self.state, self._environment()
        word = fallback.word_of(state, self._arena, state.words[self._args])
        if fallback.execute_in_python(self._architecture.isa, word, state, floating):
            self._set_flags(floating)

    def kick(self) -> None:
        """See `Cpu.kick`."""
        self.state.bytes[self._stop] = 1

    def set_line(self, line: int, level: bool) -> None:
        """See `Cpu.set_line`."""
        self.state.bytes[self._lines + line] = level

    def suspend(self) -> None:
        """See `Suspendable.suspend`."""
        for name in ("waiting", "attend"):
            self.state.set(name, 0, 1)

    @property
    def suspended(self) -> bool:
        """See `Suspendable.suspended`."""
        return self.state.get("waiting") != 0

    def meet(self, others: Sequence[InterpCpu]) -> None:
        """Write the addresses of the other vCPUs' states into the table `peers`, so that this one
        can post invalidations to them (`codegen.messages`)."""
        rows = [word for other in others for word in (other.state.address, 0)]
        self._peers = (ctypes.c_uint64 * len(rows))(*rows)
        self.state.set("peers", 0, ctypes.addressof(self._peers))
        self.state.set("peer_count", 0, len(others))

    # -- memory
    def set_memory(self, slots: Sequence[MemorySlot]) -> None:
        """Use these memory slots from the next run on."""
        self._memory.replace(slots)
        pages = self.state.set_slots(slots)
        size = max(PAGE, pages * 8 * self.state.layout.code_row)
        self._code_table, address = anonymous(size)
        self.state.set("code_table", 0, address)
        self.state.set("code_table_bytes", 0, size)
        self._restart_arenas()
        self.flush()

    def _restart_arenas(self) -> None:
        """Have decoded pages, and runs, written over those that there are. The table of code is
        empty."""
        state = self.state
        for place, start in (
            ("arena_next", "arena_start"),
            ("code_next", "code_start"),
            ("code_end", "code_limit"),
        ):
            state.set(place, 0, state.get(start))
        state.set("code_full", 0, 0)

    def flush(self) -> None:
        """See `Cpu.flush`."""
        state = self.state
        state.set("flush_wanted", 0, 1)
        # Spend the budget, so that the next entry polls, without counting it as instructions.
        mask = (1 << 64) - 1
        left = (state.get("budget") + 1) & mask
        state.set("poll_at", 0, (state.get("poll_at") - left) & mask)
        state.set("budget", 0, mask)

    def areas(self) -> list[tuple[int, int]]:
        """Where decoded pages are; see `Forkable.areas`."""
        return [(self.state.get("arena_start"), len(self._arena))]

    # -- registers
    def reset(self) -> None:
        """See `Cpu.reset`."""
        state = self.state
        for file in state.layout.isa.state.files.values():
            for n in range(file.count):
                state.set(file.name, n, 0)
        for name in ("budget", "poll_at", "polled_at", "replay_at", "stop", "stuck", "jitter"):
            state.set(name, 0, 0)
        state.set("spent_pc", 0, (1 << 64) - 1)
        state.set("fp_env", 0, current().default)
        self._abandon()
        state.set("features", 0, self._features)
        state.set("pc_mask", 0, (1 << 64) - 1)
        self._architecture.reset(state, self._start)
        self.flush()

    @property
    def register_names(self) -> Sequence[str]:
        """See `Cpu.register_names`."""
        return self._architecture.isa.register_names()

    def read_register(self, name: str) -> int:
        """See `Cpu.read_register`."""
        return read_register(self._architecture.isa, name, self._from_outside())

    def write_register(self, name: str, value: int) -> None:
        """See `Cpu.write_register`."""
        onlooker = self._from_outside()
        before = self.state.get("pc")
        write_register(self._architecture.isa, name, value, onlooker)
        self._set_flags(onlooker.environment)
        if name == "pc" or self.state.get("pc") != before:
            self._abandon()
        self.flush()

    def _from_outside(self) -> Onlooker:
        self._exits.settle_registers()
        pc, now_ns = self.state.get("pc"), self._clock.now_ns
        floating = self._environment()
        seen = SeenMemory(self._memory)
        outputs = self._architecture.outputs
        return Onlooker(self.state, seen, pc, floating, now_ns, self.instructions, outputs)

    def translate(self, address: int, *, write: bool = False) -> int | None:
        """See `Translating.translate`."""
        known = None if write else cached_place(self.state, address)
        if known is not None:
            return known
        return translate(self._architecture.isa, address, write, self._from_outside())

    def _environment(self) -> Environment:
        """The floating-point environment as native code has it."""
        host, there = current(), self.state.get("fp_env")
        rounding = self._architecture.rounding(self.state)
        flags = host.flags_of(there, self._architecture.float_flags)
        noting = self._architecture.notes_subnormal
        return Environment(rounding, flags, host.flushing_of(there), noting)

    def _set_flags(self, floating: Environment) -> None:
        environment = current().with_flags(self.state.get("fp_env"), floating.flags)
        self.state.set("fp_env", 0, environment)

    def _abandon(self) -> None:
        """Drop the access that waits for an answer: another instruction is executed next."""
        self._exits.asked = None
        for name in ("pending", "replay_count", "waiting"):
            self.state.set(name, 0, 0)

    @property
    def instructions(self) -> int:
        """Instructions retired since reset."""
        return (self.state.get("poll_at") - self.state.get("budget")) & (1 << 64) - 1

    @property
    def sampled(self) -> int:
        """Number of samples taken since the vCPU was created; the sampler reads them."""
        return self.state.get("sample_count")

    @property
    def sampled_in_regions(self) -> int:
        """How many of them were in translated code."""
        return self.state.get("samples_in_regions")

    @property
    def counters(self) -> dict[str, int]:
        """See `Counted.counters`."""
        counted = {name: self.state.get("counter", n) for n, name in enumerate(COUNTERS)}
        return {"instructions": self.instructions} | counted

    def save(self) -> Mapping[str, object]:
        """See `Cpu.save`."""
        self._exits.settle()
        state = self.state
        return Saved(
            registers=state.registers(),
            flags=current().flags_of(state.get("fp_env"), self._architecture.float_flags),
            retired=self.instructions,
            answers=[state.get("replay", n) for n in range(state.get("replay_count"))],
            fault=0 != state.get("replay_fault") == state.get("replay_count"),
            waited=self.suspended,
            jitter=state.get("jitter"),
        ).plain()

    def load(self, state: Mapping[str, object]) -> None:
        """See `Cpu.load`."""
        saved, host = Saved.read(self._architecture.isa, state), current()
        self._abandon()
        for file, values in saved.registers.items():
            self.state.set_file(file, values)
        for n, answer in enumerate(saved.answers):
            self.state.set("replay", n, answer)
        for name, value in (
            ("fp_env", host.with_flags(host.default, saved.flags)),
            ("poll_at", saved.retired),
            ("budget", 0),
            ("replay_count", len(saved.answers)),
            ("replay_fault", len(saved.answers) if saved.fault else 0),
            ("waiting", int(saved.waited)),
            ("jitter", saved.jitter),
        ):
            self.state.set(name, 0, value)
        self.flush()

    def close(self) -> None:
        """See `Cpu.close`. Registers can still be read."""
        self._enter = _closed
        self.state.close()
        self._arena.close()
        if self._code_table is not None:
            self._code_table.close()


class InterpAccelerator:
    """Makes vCPUs that the native interpreter runs."""

    name = "interp"

    def __init__(
        self,
        isa: str,
        *,
        clock: Clock,
        firmware_calls: bool = False,
        cpus: int = 1,
        model: str = "",
        hypervisor: bool = False,
        controller: bool = False,
        background: bool = False,
    ):
        """The parameters are those of `choose.create`; ``background`` has no effect here."""
        self.architecture = architecture(isa)
        self._start = Start(
            0, firmware_calls, model or self.architecture.models[0], hypervisor, controller
        )
        self._clock = clock
        self.native = interpreter(self.architecture.isa, shared=cpus > 1)
        self._room = cpus
        self._slots: list[MemorySlot] = []
        self.cpus: list[InterpCpu] = []
        self._sampler: Sampler | None = None

    def add_cpu(self, index: int) -> InterpCpu:
        """See `Accelerator.add_cpu`."""
        cpu = InterpCpu(self.architecture, self._start_of(index), self.native, self._clock)
        self._adopt(cpu)
        return cpu

    def _start_of(self, index: int) -> Start:
        return replace(self._start, index=index)

    def _adopt(self, cpu: InterpCpu) -> None:
        if len(self.cpus) == self._room:
            raise ValueError(f"vCPU {cpu.index}, but the accelerator was made for {self._room}")
        cpu.set_memory(self._slots)
        self.cpus.append(cpu)
        for each in self.cpus:
            each.meet([other for other in self.cpus if other is not each])

    def set_memory(self, slots: Iterable[MemorySlot]) -> None:
        """See `Accelerator.set_memory`."""
        self._slots = list(slots)
        if len(self._slots) > MEMORY_SLOTS:
            raise BimetalError(f"{len(self._slots)} memory slots; the jit has {MEMORY_SLOTS}")
        for cpu in self.cpus:
            cpu.set_memory(self._slots)

    def start_sampling(self) -> None:
        """See `Sampled.start_sampling`."""
        if self._sampler is not None:
            self._sampler.close()
        self._sampler = late("bimetal.accel.sampler:Sampler")(self.cpus, self.architecture)

    def samples(self) -> Samples:
        """See `Sampled.samples`."""
        return self._sampler.samples() if self._sampler is not None else Samples({})

    def quiet(self) -> AbstractContextManager[object]:
        """See `Forkable.quiet`."""
        return nullcontext()

    def forked(self) -> None:
        """See `Forkable.forked`."""
        self._sampler = None

    def begun(self) -> None:
        """See `Forkable.begun`."""

    def areas(self) -> Iterable[tuple[int, int]]:
        """See `Forkable.areas`."""
        return [area for cpu in self.cpus for area in cpu.areas()]

    def close(self) -> None:
        """See `Accelerator.close`."""
        if self._sampler is not None:
            self._sampler.close()
        for cpu in self.cpus:
            cpu.close()
