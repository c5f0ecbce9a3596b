"""Interrupt lines of a RISC-V hart, by their bit of ``mip`` (Privileged Architecture, 3.1.9)."""

from __future__ import annotations

__all__ = ["MEIP", "MSIP", "MTIP", "SEIP", "SSIP"]

SSIP, MSIP, MTIP, SEIP, MEIP = 1, 3, 7, 9, 11
