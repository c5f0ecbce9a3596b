"""Programs that a signal meets in the middle of an import."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

__all__ = ["check_signal_while_importing"]

LIMIT = 60
"""Seconds that an import takes, and a program may take to end."""


def check_signal_while_importing(
    command: Sequence[str], module: str, folder: Path, name: str, path: str = ""
) -> None:
    """Start a program that imports ``module``, which is in ``folder`` for it, in front of the other
    folders of its ``path``; it has to end by the signal of that ``name``, without a word."""
    (folder / f"{module}.py").write_text(f"print(1, flush=True)\nimport time; time.sleep({LIMIT})")
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(folder), path]))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"1\n"
    process.send_signal(signal.Signals[name])
    assert process.communicate(timeout=LIMIT) == (b"", b"")
    assert process.returncode == -signal.Signals[name]
