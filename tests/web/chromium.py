"""Chromium, driven by its own protocol (chromedevtools.github.io/devtools-protocol)."""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self

from websockets.sync.client import connect

from tests.host import program_path

__all__ = ["Chromium"]

LIMIT = 60
ANSWER_LIMIT = 32 << 20

OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # it does not start as root otherwise, and sees our own page only
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-port=0",
)

UNTIL = """new Promise((met, failed) => {
  const end = Date.now() + LIMIT * 1000;
  const look = () => {
    let value;
    try { value = CONDITION; } catch (error) { value = null; }
    if (value) met(value);
    else if (Date.now() > end) failed(new Error("never: " + document.body.innerText.slice(0, 500)));
    else setTimeout(look, 50);
  };
  look();
})"""

KEYS = {"Enter": 13, "Tab": 9, "Escape": 27, "ArrowRight": 39, "ArrowLeft": 37, "ArrowDown": 40}


class Chromium:
    """A browser with one page, whose files are in ``folder``. A context manager."""

    def __init__(self, folder: Path):
        self._numbers = itertools.count(1)
        self.said: list[str] = []
        """What the page has complained of."""
        with ExitStack() as stack:
            process = stack.enter_context(
                subprocess.Popen(
                    [
                        program_path("chromium"),
                        *OPTIONS,
                        f"--user-data-dir={folder}",
                        "about:blank",
                    ],
                    stderr=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    text=True,
                )
            )
            stack.callback(process.terminate)
            assert process.stderr is not None
            line = next(each for each in process.stderr if "DevTools listening" in each)
            port = int(line.rsplit(":", 1)[1].split("/")[0])
            self._socket = stack.enter_context(
                connect(_page(port), max_size=ANSWER_LIMIT, open_timeout=LIMIT, compression=None)
            )
            for domain in ("Page", "Runtime", "Log"):
                self.ask(f"{domain}.enable")
            self._stack = stack.pop_all()

    def ask(self, method: str, *, limit: float = LIMIT, **parameters: Any) -> Any:
        """Have a command carried out, in so many seconds at most; its result."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(limit))
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        match message.get("method"):
            case "Runtime.exceptionThrown":
                self.said.append(json.dumps(message["params"]["exceptionDetails"])[:500])
            case "Log.entryAdded" if message["params"]["entry"]["level"] == "error":
                self.said.append(message["params"]["entry"]["text"])

    def open(self, url: str) -> None:
        """Go there."""
        self.ask("Page.navigate", url=url)

    def run(self, expression: str, limit: float = LIMIT) -> Any:
        """The value of an expression, which may be a promise."""
        result = self.ask(
            "Runtime.evaluate",
            limit=limit,
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def until(self, condition: str, limit: float = LIMIT - 10) -> Any:
        """Wait until an expression is true, for so many seconds at most; its value."""
        text = UNTIL.replace("CONDITION", condition).replace("LIMIT", str(limit))
        return self.run(text, limit + 10)

    def click(self, text: str) -> None:
        """Click the button or link that says so, once it is there and can be clicked."""
        found = (
            "[...document.querySelectorAll('dialog[open] button, button, a')].find(each => "
            f"!each.disabled && each.textContent.trim() === {json.dumps(text)})"
        )
        self.until(f"!!{found}")
        self.run(f"{found}.click()")

    def fill(self, selector: str, text: str) -> None:
        """Write into a field."""
        self.until(f"!!document.querySelector({json.dumps(selector)})")
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self.type(text)

    def choose(self, selector: str, value: str) -> None:
        """Choose from a list."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.run(
            f"{found}.value = {json.dumps(value)},"
            f" {found}.dispatchEvent(new Event('change', {{bubbles: true}}))"
        )

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.ask("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """Press and release a key, by its name or as a letter."""
        code = KEYS.get(key, ord(key[0].upper()))
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        told: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.ask("Input.dispatchKeyEvent", type="keyDown", text=text, **told)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **told)

    def look(self, width: int, height: int, *, dark: bool = False) -> None:
        """Be so large, and dark or light."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self) -> bytes:
        """What is seen, as PNG."""
        return base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"])

    def close(self) -> None:
        """End it."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _page(port: int) -> str:
    """Where the page is driven of the browser that listens there."""
    asking = HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    try:
        asking.request("GET", "/json/list")
        pages = json.loads(asking.getresponse().read())
    finally:
        asking.close()
    return str(next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page"))
