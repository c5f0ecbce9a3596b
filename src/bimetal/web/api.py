"""The verbs for machines that stay, and the commands of those that run, as routes of HTTP.

    GET  /api/list?all=true
    POST /api/define                                 {"file": "<domain>...</domain>"}
    GET  /api/machines/crab/dominfo
    POST /api/machines/crab/start                    {"paused": true}
    POST /api/machines/crab/commands/query-status    {}

A verb that only looks is a GET, whose arguments are the query; any other is a POST with a JSON
object. Nothing is written down here of any one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.control.commands import MACHINE
from bimetal.control.contract import plain, read_arguments
from bimetal.control.machines import Machines
from bimetal.control.registry import Command
from bimetal.control.verbs import HOST
from bimetal.web.documents import documents_as_files

__all__ = ["BODY_LIMIT", "COMMAND_PATH", "DOMAIN", "Api", "path_of"]

DOMAIN = "domain"
"""The argument of verbs that says which machine is meant: it is part of the path."""

COMMAND_PATH = "/api/machines/{domain}/commands/{command}"
BODY_LIMIT = 2 << 20
"""Bytes of a request: a definition has half of that, and JSON may write a letter as two."""


def path_of(verb: Command) -> str:
    """The path at which a verb is."""
    of_machine = any(each.name == DOMAIN and each.required for each in verb.parameters)
    return f"/api/machines/{{{DOMAIN}}}/{verb.name}" if of_machine else f"/api/{verb.name}"


class Api:
    """The routes to ``machines``."""

    def __init__(self, machines: Machines):
        self._machines = machines

    def routes(self) -> list[Route]:
        """All of them."""
        found = [self._route(verb) for verb in HOST]
        return [*found, Route(COMMAND_PATH, self._command, methods=["POST"])]

    def _route(self, verb: Command) -> Route:
        async def answer(request: Request) -> Response:
            given = _query(request) if verb.safe else await _body(request)
            if given.keys() & request.path_params:
                raise _wrong("the machine is said by the path")
            every = {**given, **request.path_params}
            return JSONResponse(await run_in_threadpool(self._do, verb, every))

        return Route(path_of(verb), answer, methods=["GET" if verb.safe else "POST"])

    def _do(self, verb: Command, given: Mapping[str, Any]) -> Any:
        arguments = read_arguments(verb, given, strict=not verb.safe)
        with documents_as_files(verb, arguments) as readable:
            return plain(verb.function(self._machines, **readable))

    async def _command(self, request: Request) -> Response:
        command, domain = MACHINE[request.path_params["command"]], request.path_params[DOMAIN]
        given = await _body(request)
        read_arguments(command, given)  # what is wrong with them need not go to the machine
        return JSONResponse(await run_in_threadpool(self._ask, domain, command.name, given))

    def _ask(self, domain: str, command: str, given: Mapping[str, Any]) -> Any:
        return self._machines.ask(domain, command, **given)


def _query(request: Request) -> dict[str, Any]:
    pairs = request.query_params.multi_items()
    if len(dict(pairs)) < len(pairs):
        raise _wrong("an argument is there twice")
    return dict(pairs)


async def _body(request: Request) -> dict[str, Any]:
    """The object in a request, which may be empty. Raises `BimetalError`."""
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > BODY_LIMIT:
            raise _wrong(f"more than {BODY_LIMIT} bytes", ExitCode.DATA)
    if not data:
        return {}
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise _wrong(f"the content is {kind[:80]!r}", ExitCode.DATA)
    try:
        return msgspec.json.decode(bytes(data), type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise _wrong(f"the content is no JSON object: {error!s:.200}", ExitCode.DATA) from error


def _wrong(what: str, code: int = ExitCode.USAGE) -> BimetalError:
    return BimetalError(f"this cannot be asked for: {what}", "see /api/openapi.json", code)
