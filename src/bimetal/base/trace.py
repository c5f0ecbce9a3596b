"""One ladder of visibility: ``BIMETAL_TRACE=decode,mmio`` or ``--trace``.

The stages follow a guest instruction on its way down: what was decoded, what it means, what LLVM
was given, what the host runs; and then what the CPU asked of the board and what came back.
"""

from __future__ import annotations

import logging
import os

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.log import logger
from bimetal.base.near import choose_from

__all__ = ["STAGES", "configure", "emit", "enabled", "environment"]

STAGES = ("decode", "ir", "llvm", "asm", "exit", "mmio", "irq")
VARIABLE = "BIMETAL_TRACE"

_enabled: frozenset[str] = frozenset()


def configure(text: str | None = None) -> None:
    """Enable the stages named in ``text``, separated by commas; None reads the environment.

    Machines that are put together from now on trace them; others go on as they began.

    Raises `BimetalError` for a stage that does not exist.
    """
    global _enabled
    wanted = os.environ.get(VARIABLE, "") if text is None else text
    stages = frozenset(name for name in wanted.replace("|", ",").split(",") if name)
    unknown = sorted(stages.difference(STAGES))
    if unknown:
        raise BimetalError(
            f"there is no trace stage {unknown[0]!r}",
            choose_from(unknown[0], STAGES),
            ExitCode.USAGE,
        )
    _enabled = stages
    for stage in stages:
        logger(f"trace.{stage}").setLevel(logging.DEBUG)


def enabled(stage: str) -> bool:
    """Whether ``stage`` is traced. Ask when a machine is put together, and keep the answer."""
    return stage in _enabled


def environment() -> dict[str, str]:
    """What makes a process that is started now trace the same stages."""
    return {VARIABLE: ",".join(sorted(_enabled))}


def emit(stage: str, text: str) -> None:
    """Write one line to the trace of ``stage``, for whoever has found it `enabled`."""
    logger(f"trace.{stage}").debug("%s", text)
