"""The three kinds of errors, two of which have exceptions here.

* The *user's*: `BimetalError`, shown as cause and remedy, never as a traceback.
* The *guest's*: `GuestError`, caught by the board, counted and logged; execution goes on.
* The *programmer's*: Python's own exceptions, with the value and the place in the message.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["BimetalError", "ExitCode", "GuestError"]


class ExitCode(IntEnum):
    """Exit codes of the command line, after sysexits(3) where it has a fitting one."""

    FAILURE = 1
    USAGE = 64
    DATA = 65
    NO_INPUT = 66
    UNAVAILABLE = 69
    INTERNAL = 70
    IO_ERROR = 74
    NO_PERMISSION = 77
    BROKEN_PIPE = 128 + 13
    """Nobody reads our output any more: what a shell reports for a program that SIGPIPE ended."""


class BimetalError(Exception):
    """An error that the person who started the machine can correct.

    ``cause`` says what is wrong in one line, ``remedy`` what to do about it, and ``exit_code`` is
    the status with which the command line ends.
    """

    def __init__(self, cause: str, remedy: str = "", exit_code: int = ExitCode.FAILURE):
        # Exception's own, as a subclass may be an OSError too, whose arguments mean something else.
        Exception.__init__(self, cause, remedy, exit_code)
        self.cause, self.remedy, self.exit_code = cause, remedy, exit_code

    def __str__(self) -> str:
        return f"{self.cause} ({self.remedy})" if self.remedy else self.cause


class GuestError(Exception):
    """The guest asked for what the hardware does not do. Logged and counted, never fatal."""
