"""The values of options for screens, and for those who look at them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bimetal import BimetalError, ExitCode
from bimetal.cli.equipment import parse_video
from bimetal.cli.viewers import parse_vnc

NOTHING: dict[str, object] = {
    "tls_certificate": None,
    "tls_key": None,
    "web_socket": None,
    "origins": [],
}


def test_what_a_video_says() -> None:
    assert parse_video("virtio") == ("virtio", {})
    assert parse_video("ramfb,width=640") == ("ramfb", {"width": 640})
    assert parse_video("virtio,width=1,height=2") == ("virtio", {"width": 1, "height": 2})
    for text in ("", "virtio,width=", "virtio,width=x", "virtio,width=123456", "virtio,depth=8"):
        with pytest.raises(BimetalError, match=r"--video|no width"):
            parse_video(text)


def test_what_a_place_of_viewers_says(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a, b\nc\n")
    assert parse_vnc(":1") == (":1", NOTHING)
    place, options = parse_vnc(f"host::7,password-file={tmp_path / 'secret'},websocket=:2")
    assert (place, options) == ("host::7", {**NOTHING, "password": "a, b", "web_socket": ":2"})
    words = "tls-cert=c,tls-key=k,origin=https://a.example"
    assert parse_vnc(f"unix:a,,b,{words}") == (
        "unix:a,b",
        {
            "tls_certificate": "c",
            "tls_key": "k",
            "web_socket": None,
            "origins": ["https://a.example"],
        },
    )


@pytest.mark.parametrize("text", ["", ":1,password=x", ":1,websocket", ":1,origin=a,origin=b"])
def test_what_means_nothing(text: str) -> None:
    with pytest.raises(BimetalError, match="--vnc") as caught:
        parse_vnc(text)
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_password_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name in ("absent", "binary"):
        with pytest.raises(BimetalError, match=r"password file .* cannot be read") as caught:
            parse_vnc(f":1,password-file={tmp_path / name}")
        assert caught.value.exit_code == ExitCode.NO_INPUT
