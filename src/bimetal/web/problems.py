"""Errors as HTTP tells them: a status, and what is wrong, as JSON (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.control.failures import ErrorClass, class_of

__all__ = ["PROBLEM_TYPE", "problem", "problem_of"]

PROBLEM_TYPE = "application/problem+json"

STATUSES: Mapping[int, int] = {
    ExitCode.USAGE: 400,
    ExitCode.DATA: 422,
    ExitCode.NO_INPUT: 404,
    ExitCode.UNAVAILABLE: 409,
    ExitCode.NO_PERMISSION: 403,
}
"""The status of an error whose exit code blames who asked; others are the host's fault."""

SERVER_ERROR = 500


def problem(status: int, title: str, detail: str = "", **headers: str) -> JSONResponse:
    """The answer that something is wrong: ``title`` says what, ``detail`` what to do."""
    content = {"status": status, "title": title, "detail": detail}
    return JSONResponse(content, status, headers, PROBLEM_TYPE)


def problem_of(error: BimetalError) -> JSONResponse:
    """The answer for an error."""
    missing = class_of(error) is ErrorClass.COMMAND_NOT_FOUND
    status = 404 if missing else STATUSES.get(error.exit_code, SERVER_ERROR)
    return problem(status, error.cause, error.remedy)
