"""Routines as LLVM functions: ordinary calls with the state as first argument."""

from __future__ import annotations

from ..ir import effects
from ..ir.value import Value
from ..isa.trace import Routine
from .layout import Layout
from .lower import Lowering, routine_symbol

__all__ = ["RoutineLowering", "routine_text"]


class RoutineLowering(Lowering):
    """Lowers a routine's body: the program counter is the state's, and accesses are calls."""

    def __init__(self, layout: Layout, routine: Routine):
        super().__init__(layout)
        self._returns = routine.returns

    def missing(self, value: Value) -> str:
        return f"%p_{value.attr}"

    def stopped(self) -> None:
        self.end(f"ret i{self._returns} 0" if self._returns else "ret void")

    def op_ret(self, value: effects.Return) -> None:
        if value.args:
            self.end(f"ret i{self._returns} {self.operand(value.args[0])}")
        else:
            self.end("ret void")

    def op_pc(self, value: effects.Pc) -> None:
        self.names[value] = self.load_state("pc")

    def op_sync(self, value: effects.Sync) -> None:
        """Nothing to do: the caller of a routine goes through `resync` itself."""

    def op_leave(self, value: effects.Leave) -> None:
        self.set_leave(value.reason, *(self.operand(argument) for argument in value.args))
        self.stopped()


def routine_text(layout: Layout, routine: Routine) -> str:
    """The LLVM definition of a routine."""
    lowering = RoutineLowering(layout, routine)
    lowering.block(routine.block())
    if lowering.open:
        lowering.stopped()
    parameters = ", ".join(
        ["ptr %st", *(f"i{width} %p_{name}" for name, width in routine.widths.items())]
    )
    result = f"i{routine.returns}" if routine.returns else "void"
    body = "\n".join(["entry:", *lowering.allocas, *lowering.lines])
    name = routine_symbol(routine.name)
    return f"define internal {result} @{name}({parameters}) #1 {{\n{body}\n}}\n"
