"""WebSockets to consoles and screens of machines: bytes, as they are.

They begin for anybody who has the token. Pages cannot see why one is refused, so it is accepted and
then closed, with the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from bimetal.backends.dial import dial_unix
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.control.machines import Machines
from bimetal.web.consoles import Consoles, Viewer
from bimetal.web.guard import PROTOCOL

__all__ = ["Sockets"]

PIECE = 64 << 10
PATIENCE = 5.0
GATHER_SECONDS = 0.01
"""Time between two messages of a console: guests print letter by letter."""

REASON_LIMIT = 120
"""Bytes of a reason for closing (RFC 6455, 5.5: 123)."""

DONE, REFUSED = 1000, 4000


class Sockets:
    """The routes to consoles and screens of ``machines``."""

    def __init__(self, machines: Machines):
        self._machines = machines
        self._consoles = Consoles(machines)

    def routes(self) -> list[WebSocketRoute]:
        """All of them."""
        return [
            WebSocketRoute("/api/machines/{domain}/console", self._console),
            WebSocketRoute("/api/machines/{domain}/screen", self._screen),
        ]

    async def _console(self, socket: WebSocket) -> None:
        await _served(socket, self._talk(socket))

    async def _talk(self, socket: WebSocket) -> str:
        console = self._consoles.of(socket.path_params["domain"])

        async def listen() -> None:
            while True:
                await console.type(await _received(socket))

        async with console.watched() as viewer:
            await _first(_show(socket, viewer), listen())
        return viewer.ended

    async def _screen(self, socket: WebSocket) -> None:
        await _served(socket, self._watch(socket))

    async def _watch(self, socket: WebSocket) -> str:
        path = await run_in_threadpool(self._screen_of, socket.path_params["domain"])
        try:
            connection = dial_unix(path, PATIENCE)
        except OSError as error:
            raise BimetalError(
                f"the screen cannot be seen: {error.strerror}", "", ExitCode.UNAVAILABLE
            ) from error
        connection.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=connection)

        async def show() -> None:
            while data := await reader.read(PIECE):
                await socket.send_bytes(data)

        async def listen() -> None:
            while True:
                writer.write(await _received(socket))
                await writer.drain()

        try:
            await _first(show(), listen())
        finally:
            writer.close()
        return "The screen has gone."

    def _screen_of(self, called: str) -> str:
        """The socket at which the screen of a machine is served. Raises `BimetalError`."""
        known = self._machines.running(called)
        path = str(self._machines.state_of(known.name).get("screen", ""))
        if not path:
            raise BimetalError(
                f"{known.name} has no screen",
                "define it with <graphics type='vnc'/>",
                ExitCode.UNAVAILABLE,
            )
        return path


async def _served(socket: WebSocket, serve: Coroutine[Any, Any, str]) -> None:
    """Accept a socket, and close it with the reason that ``serve`` ends with."""
    await socket.accept(subprotocol=PROTOCOL)
    code, reason = DONE, ""
    try:
        reason = await serve
    except BimetalError as error:
        code, reason = REFUSED, str(error)
    except WebSocketDisconnect:
        return
    if socket.client_state is not WebSocketState.DISCONNECTED:
        short = reason.encode()[:REASON_LIMIT].decode(errors="ignore")
        await socket.close(code, short)


async def _first(*endless: Awaitable[None]) -> None:
    """Do several things at once until one of them ends. Raises what it has raised."""
    tasks = [asyncio.ensure_future(each) for each in endless]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _received(socket: WebSocket) -> bytes:
    """What comes next, whether the page sends bytes or a text."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", DONE))
    data: bytes = message.get("bytes") or message.get("text", "").encode()
    return data


async def _show(socket: WebSocket, viewer: Viewer) -> None:
    while data := await viewer.next():
        await socket.send_bytes(data)
        await asyncio.sleep(GATHER_SECONDS)
