"""The command `bimetal web`: the link, Ctrl-C, and what is refused."""

from __future__ import annotations

import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.control.conftest import homes
from tests.control.homes import LIMIT, Homes

__all__ = ["homes"]

TOKEN = "0123456789abcdef-_"


def test_it_serves_until_it_is_interrupted(homes: Homes, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    homes.machines.define(homes.text("crab"))
    words = ["web", "--listen", "127.0.0.1:0", "--token-file", str(tmp_path / "token")]
    code = "from bimetal.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *words],
        env=homes.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        link = urlsplit(process.stdout.readline().strip())
        assert link.fragment == f"token={TOKEN}"
        connection = HTTPConnection(link.netloc, timeout=LIMIT)
        connection.request("GET", "/api/list?all=1", headers={"Authorization": f"Bearer {TOKEN}"})
        assert b'"crab"' in connection.getresponse().read()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=LIMIT)
        connection.close()
    assert process.returncode == -signal.SIGINT
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (["--listen", "0.0.0.0:0"], 64, "without TLS"),
        (["--listen", "here"], 64, "is no place"),
        (["--listen", "192.0.2.1:0"], 69, "cannot listen"),
        (["--tls-key", "key.pem"], 64, "--tls-cert"),
        (["--tls-cert", "/missing"], 66, "the certificate /missing cannot be used"),
        (["--token-file", "/missing"], 66, "the token file /missing cannot be read"),
        (["--token-file", "/dev/null"], 65, "the token in /dev/null"),
    ],
)
def test_what_is_refused(homes: Homes, words: list[str], code: int, why: str) -> None:
    outcome = homes.run("web", *words)
    assert (outcome.code, outcome.out) == (code, "")
    assert why in outcome.err
    assert "Traceback" not in outcome.err
