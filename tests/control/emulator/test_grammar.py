"""Values of options, as QEMU's command line has them."""

from __future__ import annotations

import pytest

from bimetal.base.errors import BimetalError
from bimetal.control.emulator.grammar import read_words


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("guest=crab", {"guest": "crab"}),
        ("crab", {"guest": "crab"}),
        ("guest=a,,b,debug-threads=on", {"guest": "a,b", "debug-threads": "on"}),
        ("a,,b", {"guest": "a,b"}),
        ("a=b=c", {"a": "b=c"}),
        ("x,server,nowait", {"guest": "x", "server": "on", "wait": "off"}),
        ("x,node=y", {"guest": "x", "node": "y"}),
        ("file.driver=file,file.filename=/a", {"file": {"driver": "file", "filename": "/a"}}),
        ("a=1,,,b=2", {"a": "1,", "b": "2"}),
        ("a=1,a=2", {"a": "2"}),
        ("a=", {"a": ""}),
        ('{"driver": "raw", "file": {"n": 1}}', {"driver": "raw", "file": {"n": 1}}),
    ],
)
def test_words(text: str, values: object) -> None:
    assert read_words("name", text, "guest").rest() == values


@pytest.mark.parametrize(
    "text",
    [
        "a=1,",
        "a.b=1,a=2",
        "a=1,a.b=2",
        ".=1",
        "a..b=1",
        '{"a": 1',
        '{"a": 1}]',
        "{" + '"a": {' * 40,
        ".".join("a" * 40) + "=1",
    ],
)
def test_what_is_no_list_of_words(text: str) -> None:
    with pytest.raises(BimetalError):
        read_words("device", text, "driver").rest()


def test_a_word_that_may_be_repeated_is_a_list() -> None:
    words = read_words("netdev", "user,hostfwd=a,hostfwd=b", "type", repeated=("hostfwd",))
    assert words.rest() == {"type": "user", "hostfwd": ["a", "b"]}


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("on", True),
        ("yes", True),
        ("true", True),
        ("y", True),
        ("off", False),
        ("no", False),
        ("false", False),
        ("n", False),
    ],
)
def test_switches(said: str, value: bool) -> None:
    assert read_words("drive", f"readonly={said}").switch("readonly") is value


def test_numbers_and_sizes() -> None:
    words = read_words("device", "a=0x10,b=12,c=1.5G,d=64")
    assert [words.number("a"), words.number("b")] == [16, 12]
    assert [words.size("c"), words.size("d", unit=1 << 20)] == [3 << 29, 64 << 20]
    values = read_words("object", '{"size": 4096, "share": true, "name": 7}')
    assert (values.size("size"), values.switch("share"), values.text("name")) == (4096, True, "7")


@pytest.mark.parametrize("text", ["a=ten", "a=-1", "a=1M", "a=0xg", "a=99"])
def test_what_is_no_number_from_0_to_20(text: str) -> None:
    with pytest.raises(BimetalError, match="a number from 0 to 20"):
        read_words("device", text).number("a", most=20)


def test_what_nobody_has_taken_is_named() -> None:
    words = read_words("device", "driver=virtio-blk-pci,bootindx=1")
    words.text("driver")
    words.number("bootindex")
    with pytest.raises(BimetalError, match="'bootindx' is not there") as refused:
        words.finish()
    assert "did you mean bootindex?" in refused.value.remedy
