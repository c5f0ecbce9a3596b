"""Errors of commands, in the few classes that QMP tells apart."""

from __future__ import annotations

from enum import StrEnum

from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["CommandFailed", "ErrorClass", "class_of"]


class ErrorClass(StrEnum):
    """The classes of errors in QMP (QEMU's qapi/error.json, QapiErrorClass)."""

    GENERIC = "GenericError"
    COMMAND_NOT_FOUND = "CommandNotFound"
    DEVICE_NOT_ACTIVE = "DeviceNotActive"
    DEVICE_NOT_FOUND = "DeviceNotFound"


class CommandFailed(BimetalError):
    """A command could not be carried out: a `BimetalError` that is of a ``kind``."""

    def __init__(
        self,
        kind: ErrorClass,
        cause: str,
        remedy: str = "",
        exit_code: int = ExitCode.UNAVAILABLE,
    ):
        super().__init__(cause, remedy, exit_code)
        self.kind = kind


def class_of(error: BimetalError) -> ErrorClass:
    """The class in which a client is told of an error."""
    return error.kind if isinstance(error, CommandFailed) else ErrorClass.GENERIC
