"""What a kernel on Arm asks of its machine: PSCI 1.1, SMCCC 1.1 and random numbers.

Sources: Power State Coordination Interface (Arm DEN0022, version 1.1), chapter 5; SMC Calling
Convention (DEN0028), chapter 7; True Random Number Generator Firmware Interface (DEN0098).

Deviations: a CPU that suspends itself always goes to standby, so that it resumes behind its call;
above the level of CPUs everything is always on. Migration, statistics and suspend to RAM are left
out.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Protocol

from bimetal.base.errors import GuestError
from bimetal.memory.space import AddressSpace

__all__ = ["Cpus", "Function", "Power", "Psci", "PsciError", "Reset"]

WORD, HALF = (1 << 64) - 1, 0xFFFF_FFFF
SIXTY_FOUR = 1 << 30
"""Of a function's number: its arguments have 64 bits (DEN0028, 2.5)."""
INSTRUCTION = 4


class PsciError(IntEnum):
    """What a call answers in x0 (DEN0022, 5.2.2)."""

    SUCCESS = 0
    NOT_SUPPORTED = -1
    INVALID_PARAMETERS = -2
    DENIED = -3
    ALREADY_ON = -4
    ON_PENDING = -5
    INVALID_ADDRESS = -9


class Power(IntEnum):
    """States of a CPU, as AFFINITY_INFO tells them (5.7)."""

    ON = 0
    OFF = 1
    ON_PENDING = 2


class Reset(IntEnum):
    """What becomes of the machine."""

    OFF = 0
    AGAIN = 1


class Function(IntEnum):
    """Numbers of functions, in x0; those with arguments of 64 bits have `SIXTY_FOUR` set too."""

    SMCCC_VERSION = 0x8000_0000
    ARCH_FEATURES = 0x8000_0001
    ARCH_WORKAROUND_3 = 0x8000_3FFF
    ARCH_WORKAROUND_2 = 0x8000_7FFF
    ARCH_WORKAROUND_1 = 0x8000_8000
    PSCI_VERSION = 0x8400_0000
    CPU_SUSPEND = 0x8400_0001
    CPU_OFF = 0x8400_0002
    CPU_ON = 0x8400_0003
    AFFINITY_INFO = 0x8400_0004
    MIGRATE_INFO_TYPE = 0x8400_0006
    SYSTEM_OFF = 0x8400_0008
    SYSTEM_RESET = 0x8400_0009
    PSCI_FEATURES = 0x8400_000A
    SYSTEM_RESET2 = 0x8400_0012
    TRNG_VERSION = 0x8400_0050
    TRNG_FEATURES = 0x8400_0051
    TRNG_GET_UUID = 0x8400_0052
    TRNG_RND = 0x8400_0053


WITH_64_BITS = {
    Function.CPU_SUSPEND,
    Function.CPU_ON,
    Function.AFFINITY_INFO,
    Function.SYSTEM_RESET2,
    Function.TRNG_RND,
}
ALL = {int(each) for each in Function} | {each | SIXTY_FOUR for each in WITH_64_BITS}

PSCI_VERSION, SMCCC_VERSION, TRNG_VERSION = (1 << 16 | 1, 1 << 16 | 1, 1 << 16)
NO_MIGRATION = 2
UNAFFECTED = 1
"""A workaround that this processor does not need (DEN0028, 7.5)."""
WARM_RESET = 0
RESERVED_STATES = ~0x0301_FFFF
"""Bits that no power state has in the original format (5.4.2)."""
WORKAROUNDS = (
    Function.ARCH_WORKAROUND_1,
    Function.ARCH_WORKAROUND_2,
    Function.ARCH_WORKAROUND_3,
)
TRNG_UUID = (0x7D6C_2A19, 0x4F5E_8B03, 0x9C21_E7A4, 0x5B30_D86F)
INVALID, SUCCESS = (PsciError.INVALID_PARAMETERS & WORD,), (0,)

Answer = tuple[int, ...]


class Cpus(Protocol):
    """The CPUs of a machine, as PSCI acts on them."""

    def number(self, affinity: int) -> int | None:
        """The CPU whose MPIDR_EL1 has these affinity fields, or None."""

    def power(self, cpu: int) -> Power:
        """What a CPU is doing."""

    def start(self, cpu: int, address: int, argument: int) -> None:
        """Let a CPU that is off begin at the physical ``address`` with ``argument`` in x0."""

    def stop(self, cpu: int) -> None:
        """Switch the calling CPU off as soon as its call has ended."""

    def suspend(self, cpu: int) -> None:
        """Let the calling CPU wait for an interrupt before it goes on."""

    def reset(self, kind: Reset) -> None:
        """End the run of the machine, or begin it anew."""


class Psci:
    """Answers the calls of all CPUs of one machine, under its lock.

    ``entropy`` gives as many random bytes as it is asked for.
    """

    def __init__(self, cpus: Cpus, memory: AddressSpace, entropy: Callable[[int], bytes]):
        self._cpus, self._memory, self._entropy = cpus, memory, entropy
        self._functions: dict[int, Callable[[int, Answer], Answer]] = {
            Function.SMCCC_VERSION: lambda cpu, a: (SMCCC_VERSION,),
            Function.ARCH_FEATURES: self._arch_features,
            Function.PSCI_VERSION: lambda cpu, a: (PSCI_VERSION,),
            Function.CPU_SUSPEND: self._cpu_suspend,
            Function.CPU_OFF: self._cpu_off,
            Function.CPU_ON: self._cpu_on,
            Function.AFFINITY_INFO: self._affinity_info,
            Function.MIGRATE_INFO_TYPE: lambda cpu, a: (NO_MIGRATION,),
            Function.SYSTEM_OFF: lambda cpu, a: self._reset(Reset.OFF),
            Function.SYSTEM_RESET: lambda cpu, a: self._reset(Reset.AGAIN),
            Function.PSCI_FEATURES: self._features,
            Function.SYSTEM_RESET2: self._system_reset2,
            Function.TRNG_VERSION: lambda cpu, a: (TRNG_VERSION,),
            Function.TRNG_FEATURES: self._features,
            Function.TRNG_GET_UUID: lambda cpu, a: TRNG_UUID,
            **{each: lambda cpu, a: SUCCESS for each in WORKAROUNDS},
        }

    def call(self, cpu: int, args: tuple[int, ...]) -> Answer:
        """Answer a call of ``cpu`` with x0 and on in ``args``: what goes to x0 and on."""
        function = args[0] & HALF
        wide = function & SIXTY_FOUR
        rest = tuple(each if wide else each & HALF for each in (*args[1:], 0, 0, 0)[:3])
        if function not in ALL:
            return (PsciError.NOT_SUPPORTED & WORD,)
        if function & ~SIXTY_FOUR == Function.TRNG_RND:
            return self._random(rest[0], 64 if wide else 32)
        return self._functions[function & ~SIXTY_FOUR](cpu, rest)

    # Power

    def _cpu_on(self, cpu: int, args: Answer) -> Answer:
        target = self._cpus.number(args[0])
        if target is None:
            return INVALID
        match self._cpus.power(target):
            case Power.ON:
                return (PsciError.ALREADY_ON & WORD,)
            case Power.ON_PENDING:
                return (PsciError.ON_PENDING & WORD,)
        if not self._executable(args[1]):
            return (PsciError.INVALID_ADDRESS & WORD,)
        self._cpus.start(target, args[1], args[2])
        return SUCCESS

    def _cpu_off(self, cpu: int, args: Answer) -> Answer:
        self._cpus.stop(cpu)
        return SUCCESS

    def _cpu_suspend(self, cpu: int, args: Answer) -> Answer:
        if args[0] & RESERVED_STATES:
            return INVALID
        self._cpus.suspend(cpu)
        return SUCCESS

    def _affinity_info(self, cpu: int, args: Answer) -> Answer:
        target, level = self._cpus.number(args[0]), args[1]
        if target is None or level > 3:
            return INVALID
        return (self._cpus.power(target) if level == 0 else Power.ON,)

    def _reset(self, kind: Reset) -> Answer:
        self._cpus.reset(kind)
        return SUCCESS

    def _system_reset2(self, cpu: int, args: Answer) -> Answer:
        return self._reset(Reset.AGAIN) if args[0] & HALF == WARM_RESET else INVALID

    def _executable(self, address: int) -> bool:
        try:
            self._memory.view(address, INSTRUCTION).release()
        except GuestError:
            return False
        return address % INSTRUCTION == 0

    # What there is

    def _features(self, cpu: int, args: Answer) -> Answer:
        return SUCCESS if args[0] & HALF in ALL else (PsciError.NOT_SUPPORTED & WORD,)

    def _arch_features(self, cpu: int, args: Answer) -> Answer:
        asked = args[0] & HALF
        if asked in WORKAROUNDS:
            return (UNAFFECTED,)
        return self._features(cpu, args)

    # Random numbers

    def _random(self, bits: int, register: int) -> Answer:
        """Up to three registers of randomness, the last one first (DEN0098, 2.5)."""
        if not 0 < bits <= 3 * register:
            return INVALID
        number = int.from_bytes(self._entropy(3 * register // 8), "little") & (1 << bits) - 1
        ones = (1 << register) - 1
        return (0, *(number >> register * n & ones for n in (2, 1, 0)))
