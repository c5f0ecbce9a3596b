"""The reference: an accelerator that executes descriptions by evaluating their traces in Python.

It is a few thousand times slower than native code and easy to understand, which is its purpose:
what it computes is by construction what the descriptions say.
"""

from ..memory import Memory
from ..single import Guest, evaluate_insn
from .core import Core
from .cpu import Reference, ReferenceCpu
from .state import Registers

__all__ = ["Core", "Guest", "Memory", "Reference", "ReferenceCpu", "Registers", "evaluate_insn"]
