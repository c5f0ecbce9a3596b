"""Accesses that the board answers: native code is left, and then the instruction is executed again
with the answers that it has got so far."""

from __future__ import annotations

from collections.abc import Callable

from ..ir.access import Space
from ..ir.requests import Reason
from ..ir.value import Value, const
from ..isa.contract import STORE
from ..isa.trace import Cpu, ret, when
from .builder import Builder, host_load, state_address

__all__ = ["ASKING", "describe_asking", "return_answer"]

ASKING = {Space.PORT: "port_access", Space.BOARD: "board_access"}
"""The routines for the spaces in which there are devices alone."""


def return_answer(cpu: Cpu, refused: Callable[[], object] | None = None) -> None:
    """Return the answer from the routine that is traced, if there is one to this access;
    ``refused`` traces what is done if the answer is that nothing is there."""
    at = cpu.replay_at
    with when(at.ult(cpu.replay_count)):
        cpu.replay_at = at + 1
        if refused is not None:
            with when(cpu.replay_at == cpu.replay_fault):
                refused()
        ret(host_load(state_address("replay") + at * 8, 64))


def describe_asking(build: Builder) -> None:
    """Describe the routines of `ASKING`."""

    def describe(name: str, reason: Reason) -> None:
        @build.routine(64, name, address=64, size=64, access=8, value=64)
        def ask(cpu: Cpu, address: Value, size: Value, access: Value, value: Value) -> Value:
            return_answer(cpu)
            written = (access == STORE).zext(64)
            if reason == "port":
                cpu.leave(reason, address, size, written, value)
            else:
                cpu.leave(reason, address, written, value)
            return const(0, 64)

    describe("port_access", "port")
    describe("board_access", "board register")
