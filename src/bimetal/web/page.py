"""The page that a person sees: files that are built from ``web/`` of the source tree."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

__all__ = ["BUILD", "page_is_there", "page_routes"]

FOLDER = Path(__file__).with_name("static")
INDEX = "index.html"
BUILD = "python -m tools.web"
"""The command that builds the page in a checkout; a wheel has it."""


def page_is_there() -> bool:
    """Whether the page is built."""
    return (FOLDER / INDEX).is_file()


def page_routes() -> list[Route]:
    """The routes to its files, one each, or to a message how to build them."""
    if not page_is_there():
        return [Route("/", _missing)]
    files = StaticFiles(directory=FOLDER)
    names = [str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.is_file()]
    return [_route("", INDEX, files), *(_route(name, name, files) for name in names)]


def _route(path: str, name: str, files: StaticFiles) -> Route:
    async def answer(request: Request) -> Response:
        return await files.get_response(name, request.scope)

    return Route(f"/{path}", answer)


async def _missing(request: Request) -> Response:
    text = f"The page is not built: run '{BUILD}' in the checkout. The API is at /api/.\n"
    return PlainTextResponse(text, 503)
