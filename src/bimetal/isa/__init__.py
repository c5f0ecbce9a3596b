"""Instruction set descriptions: what manuals say, as Python that is traced, never rewritten."""
