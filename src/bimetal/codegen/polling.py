"""What a vCPU does when its budget is spent: take a sample and serve requests."""

from __future__ import annotations

from ..ir.value import Value, const, select
from ..isa.trace import Cpu, when
from .builder import COUNTERS, Builder, count, host_store, state_address
from .layout import SAMPLE_WORDS, SAMPLES

__all__ = ["describe_polling", "describe_sampling"]

# Polls between two comparisons of all decoded code with memory.
REVALIDATE = 1024
# The generator of MMIX (Knuth, The Art of Computer Programming, 3.3.4, table 1).
JITTER_FACTOR, JITTER_TERM = 6364136223846793005, 1442695040888963407


def describe_sampling(build: Builder) -> None:
    """Describe the routine ``sample``, which is called when the budget is spent."""

    @build.routine()
    def sample(cpu: Cpu) -> None:
        """Add the place where the budget ran out to the ring: a fair picture of where instructions
        are executed.

        The address is that of the jump that noticed it, not of its target, which may lie in a
        function of which nothing has been executed yet.
        """
        place = (cpu.sample_count & SAMPLES - 1) * (8 * SAMPLE_WORDS)
        at = state_address("sample") + place
        host_store(at, cpu.spent_record)
        host_store(at + 8, cpu.spent_by)
        host_store(at + 16, select(cpu.spent_pc == -1, cpu.pc, cpu.spent_pc))
        host_store(at + 24, build.hooks.mode(cpu).zext(64))
        host_store(at + 32, cpu.spent_in_region)
        cpu.samples_in_regions = cpu.samples_in_regions + cpu.spent_in_region
        cpu.sample_count = cpu.sample_count + 1


def describe_polling(build: Builder) -> None:
    """Describe what a vCPU does at a poll, and the length of its next budget."""
    _attending(build)
    _polling(build)


def _attending(build: Builder) -> None:
    @build.routine()
    def attend(cpu: Cpu) -> None:
        """Look at the time and serve requests from other threads.

        A budget bounds the number of instructions and not their time, so an operation that takes
        long requests this too.
        """
        if build.layout.tells_of_stores:
            build.routines["tell_of_store"](cpu)
        with when(cpu.flush_wanted != 0):
            cpu.flush_wanted = const(0, 8)
            build.routines["flush"](cpu)
            build.routines["fence_code"](cpu)
            build.hooks.renew(cpu)
        build.routines["look_into_box"](cpu)
        cpu.attend = cpu.waiting
        build.hooks.poll_timer(cpu)
        with when(cpu.stop != 0):
            cpu.stop = const(0, 8)
            cpu.leave("kicked")
        with when(cpu.waiting != 0):
            with when(build.hooks.wakes(cpu) == 0):
                cpu.leave("halt")
            cpu.waiting = const(0, 8)
            cpu.attend = const(0, 8)


def _polling(build: Builder) -> None:
    @build.routine(returns=64)
    def next_budget(cpu: Cpu) -> Value:
        """The next budget: three quarters of a slice to a whole one, at random. With a fixed one,
        all samples in a loop whose length divides it would be of the same place."""
        random = cpu.jitter * JITTER_FACTOR + JITTER_TERM
        cpu.jitter = random
        # A quarter of a slice times the upper 31 bits taken as a fraction.
        budget: Value = cpu.slice - (random.lsr(33) * (cpu.slice.lsr(2) + 1)).lsr(31)
        return budget

    @build.routine()
    def poll(cpu: Cpu) -> None:
        """The budget is spent: start a new one, look at the time, serve requests."""
        with when(cpu.flush_wanted == 0):  # otherwise a flush cut the budget: no sample
            build.routines["sample"](cpu)
        cpu.spent_record, cpu.spent_by, cpu.spent_pc = const(0, 64), const(0, 64), const(-1, 64)
        cpu.spent_in_region = const(0, 64)
        retired = build.routines["instret"](cpu)
        # Traps spend the budget too; nothing else has spent this one.
        stuck = (retired == cpu.polled_at) & (cpu.flush_wanted == 0) & (cpu.stuck == 0)
        cpu.polled_at = retired
        left, budget = cpu.budget, next_budget(cpu)
        cpu.poll_at = cpu.poll_at - left + budget
        cpu.budget = budget
        count(cpu, "polls")
        # Stores become visible to instruction fetch eventually, without a fence too (Ziccid).
        with when((cpu.counter[COUNTERS.index("polls")] & REVALIDATE - 1) == 0):
            build.routines["fence_code"](cpu)
        build.routines["attend"](cpu)
        with when(stuck):
            cpu.stuck = const(1, 8)
            cpu.leave("stuck")
