"""Branch target identification (C6.2.42): instructions that are targets of indirect branches."""

from __future__ import annotations

from ...trace import Cpu
from ..state import a64

for _targets, _text in enumerate(("bti", "bti c", "bti j", "bti jc")):

    @a64.insn(f"1101010100 0 00 011 0010 0100 {_targets:02b}0 11111", _text, name=_text)
    def bti(cpu: Cpu) -> None:
        """Nothing to do: the check was made when it was reached."""
