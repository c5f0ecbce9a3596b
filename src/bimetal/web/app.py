"""The application: the page, the API, and the guard before both."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bimetal.base.errors import BimetalError
from bimetal.base.log import logger
from bimetal.control.machines import Machines
from bimetal.web.api import Api
from bimetal.web.guard import Guard, Rules
from bimetal.web.openapi import describe
from bimetal.web.page import page_routes
from bimetal.web.problems import SERVER_ERROR, problem, problem_of
from bimetal.web.sockets import Sockets

__all__ = ["make_app"]


def make_app(machines: Machines, rules: Rules) -> Starlette:
    """The application for ``machines``, for those whom the ``rules`` let in."""
    return Starlette(
        routes=[
            Route("/api/openapi.json", _describe),
            *Api(machines).routes(),
            *Sockets(machines).routes(),
            *page_routes(),
        ],
        middleware=[Middleware(Guard, rules=rules)],
        exception_handlers={
            BimetalError: _failed,
            HTTPException: _refused,
            Exception: _broken,
        },
    )


async def _describe(request: Request) -> Response:
    return JSONResponse(describe())


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, BimetalError)
    return problem_of(error)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, error.detail, "see /api/openapi.json", **error.headers or {})


async def _broken(request: Request, error: Exception) -> Response:
    logger("web").error("%s %s: %r", request.method, request.url.path, error)
    return problem(SERVER_ERROR, f"a defect of Bimetal: {type(error).__name__}", "report it")
