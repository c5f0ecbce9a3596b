"""The page that a person sees: files that are built from ``web/`` of the source tree."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

__all__ = ["BUILD", "page_is_there", "page_routes"]

FOLDER = Path(__file__).with_name("static")
BUILD = "python -m tools.web"
"""The command that builds the page in a checkout; a wheel has it."""


def page_is_there() -> bool:
    """Whether the page is built."""
    return (FOLDER / "index.html").is_file()


def page_routes() -> list[BaseRoute]:
    """The routes to its files, or to a message how to build them."""
    if page_is_there():
        return [Mount("/", StaticFiles(directory=FOLDER, html=True))]
    return [Route("/", _missing)]


async def _missing(request: Request) -> Response:
    text = f"The page is not built: run '{BUILD}' in the checkout. The API is at /api/.\n"
    return PlainTextResponse(text, 503)
