"""From the reason for which native code returned to an exit of the seam, and the board's answer
back."""

from __future__ import annotations

from struct import Struct

from ..ir.requests import REASONS
from ..isa.contract import Architecture
from ..seam import (
    Exit,
    FirmwareCall,
    Halt,
    Kicked,
    Mmio,
    Outputs,
    Pio,
    RegisterAccess,
    Semihosting,
    ShootDown,
    Stuck,
)  # fmt: skip
from .register_access import fill
from .vcpu_state import VcpuState

__all__ = ["NativeExits"]

(
    _KICKED, _HALT, _FIRMWARE, _MMIO, _OUTPUTS, _SHOOT_DOWN, _STUCK, _SEMIHOSTING, _REGISTER, _PORT,
    _BOARD,
) = map(
    REASONS.index,
    (
        "kicked", "halt", "firmware call", "mmio", "outputs", "shoot down", "stuck", "semihosting",
        "register", "port", "board register",
    ),
)  # fmt: skip
_MASK = (1 << 64) - 1
_MASKS = {size: (1 << 8 * size) - 1 for size in (1, 2, 4, 8)}
_four_words = Struct("=4Q").unpack_from


class NativeExits:
    """The exits of one vCPU; ``asked`` is the one that waits for the board's answer.

    Objects for frequent exits are created once and reused.
    """

    def __init__(self, state: VcpuState, architecture: Architecture):
        self._state, self._architecture = state, architecture
        self._reason, self._args = state.word("leave_reason"), state.word("leave_args")
        self._args_at = 8 * self._args
        self._replay, self._replay_count = state.word("replay"), state.word("replay_count")
        self._replay_fault = state.word("replay_fault")
        self._mmio, self._halt, self._call = Mmio(), Halt(), FirmwareCall()
        self._register, self._board, self._pio = RegisterAccess(), RegisterAccess(), Pio()
        self.kicked = Kicked()
        self.asked: Exit | None = None

    def left(self) -> Exit | None:
        """The exit for which native code has just returned; None for an instruction that it leaves
        to Python."""
        state = self._state
        reason = state.words[self._reason]
        if reason == _MMIO:
            self.asked = exit_ = self._mmio
            args = _four_words(state.bytes, self._args_at)
            exit_.address, exit_.size, write, exit_.value = args
            exit_.write, exit_.fault = write != 0, False
            return exit_
        if reason == _REGISTER:
            return self._register_access()
        if reason == _PORT:
            self.asked = port = self._pio
            port.port, port.size, written, port.value = _four_words(state.bytes, self._args_at)
            port.write = written != 0
            return port
        if reason == _BOARD:
            number, use, operand, _ = _four_words(state.bytes, self._args_at)
            self.asked = fill(self._board, number, use, operand)
            return self._board
        if reason == _HALT:
            self._halt.deadline = self._architecture.deadline(self._state)
            return self._halt
        if reason == _FIRMWARE:
            return self._firmware_call()
        if reason == _KICKED:
            return self.kicked
        if reason == _OUTPUTS:
            return Outputs(self._architecture.levels(self._state))
        if reason == _SHOOT_DOWN:
            return ShootDown()
        if reason == _STUCK:
            return Stuck(self._state.get("pc"))
        if reason == _SEMIHOSTING:
            return self._semihosting()
        return None

    def _register_access(self) -> RegisterAccess:
        """The instruction is complete; the answer to a read goes into the register that it
        names."""
        words, at = self._state.words, self._args
        exit_ = fill(self._register, words[at], words[at + 1], words[at + 2])
        self.asked = exit_ if exit_.read else None
        return exit_

    def _firmware_call(self) -> FirmwareCall:
        get, exit_ = self._state.get, self._call
        exit_.args = tuple(get(file, n) for file, n in self._architecture.arguments)
        exit_.results = ()
        self.asked = exit_
        return exit_

    def _semihosting(self) -> Semihosting:
        operation, parameter = (self._state.get(*at) for at in self._architecture.arguments[:2])
        exit_ = Semihosting(operation, parameter, self._architecture.deadline(self._state))
        self.asked = exit_
        return exit_

    def settle(self) -> None:
        """Hand the board's answer to the instruction that waits for it."""
        asked, self.asked = self.asked, None
        if asked is None:
            return
        words = self._state.words
        if isinstance(asked, Mmio):
            self._repeat(asked.value & _MASKS[asked.size], asked.fault)
        elif isinstance(asked, Pio):
            self._repeat(asked.value & _MASKS[asked.size])
        elif asked is self._board:
            self._repeat(self._board.value & _MASK)
        elif isinstance(asked, FirmwareCall):
            for (file, n), value in zip(self._architecture.results, asked.results, strict=False):
                self._state.set(file, n, value & _MASK)
        elif isinstance(asked, RegisterAccess):
            target = words[self._args + 3]
            self._state.set(self._architecture.accessed, target, asked.value & _MASK)
        elif isinstance(asked, Semihosting):
            self._take_result(asked)

    def settle_registers(self) -> None:
        """The same, only for answers that go into registers and need no execution."""
        call = isinstance(self.asked, FirmwareCall) and self.asked.results
        if call or self.asked is self._register:
            self.settle()

    def _repeat(self, answer: int, fault: bool = False) -> None:
        """Have the instruction executed again, with one answer more."""
        words = self._state.words
        count = words[self._replay_count]
        words[self._replay + count] = answer
        words[self._replay_count] = count + 1
        words[self._replay_fault] = count + 1 if fault else 0

    def _take_result(self, asked: Semihosting) -> None:
        state = self._state
        if not (asked.refused or asked.again):
            file, n = self._architecture.results[0]
            state.set(file, n, asked.result & _MASK)
            return
        # The instruction that asked is executed again, so it does not count as executed yet.
        state.set("pc", 0, state.get("leave_args"))
        state.set("budget", 0, (state.get("budget") + 1) & _MASK)
        if asked.refused:
            state.set(self._architecture.semihosting, 0, 0)
