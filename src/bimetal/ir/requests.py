"""The questions that descriptions can ask the engine, and the reasons for which they leave it."""

from __future__ import annotations

from enum import IntEnum
from typing import Literal, get_args

__all__ = ["ANSWERS", "REASONS", "Question", "Reason", "RegisterUse"]

Question = Literal[
    "time_ns", "instret", "random", "is_memory", "is_ram", "relax",
    "flush", "flush_spaces", "flush_space", "flush_pages", "flush_fetch", "fence_code",
    "fence_line", "shared", "tell_pages", "tell_code", "heard", "lock",
]  # fmt: skip
"""The questions of `Cpu.host`:

* ``time_ns``, ``instret``, ``random``: the machine's time in nanoseconds, the instructions retired
  since reset, 64 bits of the host's randomness.
* ``is_memory``, ``is_ram``: whether a guest-physical address is in memory, in memory that may be
  written.
* ``relax``: say that this vCPU is waiting for another one.
* ``flush``: flush all translations. ``flush_spaces``, with a mask and a value: those of address
  spaces that equal the value in the bits of the mask. ``flush_space``, with an address space: those
  of its pages that are not global, at least. ``flush_pages``, with an address, a number
  of 4 KiB pages, a mask, a value, and a mask of further bits that must match for pages that are not
  global: those of these pages. ``flush_fetch``: those for instruction fetches. ``fence_code``: make
  later fetches see earlier stores.
* ``fence_line``: the same for those to the 64 bytes at a virtual address, if it has a translation:
  whether that is so.
* ``shared``: whether there are other vCPUs. ``tell_pages``, ``tell_code``: have them do
  ``flush_pages`` (with no pages, ``flush_spaces``) or ``fence_code``. ``heard``: whether all of
  them have done so.
* ``lock``, for the engine's own routines: take the lock at an address of this process.
"""

ANSWERS: dict[Question, int] = dict.fromkeys(get_args(Question), 0) | {
    "time_ns": 64, "instret": 64, "random": 64, "is_memory": 1, "is_ram": 1,
    "shared": 1, "heard": 1, "fence_line": 1,
}  # fmt: skip
"""The width in bits of each answer."""

Reason = Literal[
    "kicked", "halt", "firmware call", "mmio", "reference", "register", "outputs",
    "shoot down", "stuck", "semihosting", "port", "board register",
]  # fmt: skip
"""Why native code is left, with `Cpu.leave`:

* ``halt``: the vCPU waits for an interrupt. ``firmware call``, ``semihosting``, ``outputs``,
  ``register``, ``shoot down``: for the exits of the seam of these names (`seam`).
* ``register`` says the register's number, what is done to it (`RegisterUse`), the operand of that,
  and which register of the vCPU's takes the answer.
* ``reference``: the reference executes the instruction in hand.
* ``kicked``, ``mmio``, ``port``, ``board register``, ``stuck``: of the engine's own routines. After
  accesses the instruction is executed again, with the board's answers.
"""


class RegisterUse(IntEnum):
    """What an instruction does to a register that a device on the board has."""

    READ = 0
    WRITE = 1
    EXCHANGE = 2
    SET = 3
    CLEAR = 4


REASONS: tuple[Reason, ...] = get_args(Reason)
"""All of them, in the order of their numbers."""
