"""The console as a program uses it."""

import re
import threading
from collections.abc import Callable

import pytest

from bimetal.backends.chars.null import NoChars
from bimetal.backends.chars.ring import Ring
from bimetal.base.errors import BimetalError
from bimetal.machine.console import FIRMWARE_INPUT_LIMIT, Console, ConsoleLine


class Port:
    """A serial port that can take ``space`` bytes."""

    def __init__(self, line: ConsoleLine, space: int = 1 << 20):
        self.line, self.space = line, space
        self.got = b""
        line.connect(self.receive, lambda: self.space - len(self.got))

    def receive(self, data: bytes) -> None:
        assert len(self.got) + len(data) <= self.space
        self.got += data

    def read(self) -> bytes:
        got, self.got = self.got, b""
        self.line.resume()
        return got


@pytest.fixture
def console() -> Console:
    return Console(NoChars(), threading.Lock(), threading.Event())


def later(action: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=action)
    thread.start()
    return thread


def test_expect_finds_texts_and_patterns_in_order(console: Console) -> None:
    console.line.write(b"boot 1.5 ok\r\nlogin: \xff$ ")
    found = console.expect(re.compile(r"boot (\d+)\.(\d+)"))
    assert (found.text, found.groups, found.before) == ("boot 1.5", ("1", "5"), "")
    assert console.expect("login:").before == " ok\r\n"
    assert console.expect("$").before == " \ufffd"
    assert console.read() == " "
    assert console.read() == ""
    assert console.log == "boot 1.5 ok\r\nlogin: \ufffd$ "


def test_expect_waits_for_output(console: Console) -> None:
    def boot() -> None:
        for byte in b"slowly, byte by byte: login: ":
            with console._lock:
                console.line.write(bytes((byte,)))

    thread = later(boot)
    assert console.expect("login: ", timeout=20).text == "login: "
    thread.join()


def test_what_does_not_come_shows_the_last_lines(console: Console) -> None:
    console.line.write(b"".join(b"line %d\n" % number for number in range(100)))
    with pytest.raises(BimetalError) as caught:
        console.expect("login (x):", timeout=0.01)
    assert caught.value.cause == (
        "the console did not show 'login (x):': nothing like it came for 0.01 s"
    )
    assert "line 80\n" in caught.value.remedy
    assert "line 79\n" not in caught.value.remedy


def test_an_ending_machine_is_not_waited_for(console: Console) -> None:
    def end() -> None:
        console._over.set()
        console.wake()

    thread = later(end)
    with pytest.raises(BimetalError, match="the machine has ended"):
        console.expect("login:", timeout=60)
    thread.join()


def test_output_before_the_end_is_found_after_it(console: Console) -> None:
    console.line.write(b"done")
    console._over.set()
    assert console.expect("done").text == "done"


def test_typing_reaches_the_port_as_it_has_room(console: Console) -> None:
    port = Port(console.line, space=4)
    console.send("echo hi\n")
    assert port.read() == b"echo"
    assert port.read() == b" hi\n"


def test_typing_more_than_waits_is_an_error(console: Console) -> None:
    with pytest.raises(BimetalError, match="the guest took only"):
        console.send(b"x" * (1 << 20))


def test_input_goes_to_whoever_asked_last(console: Console) -> None:
    port = Port(console.line)
    console.send("a")
    assert port.read() == b"a"
    assert console.line.take(10) == b""
    console.send("bc")
    assert port.got == b""
    assert console.line.take(1) == b"b"
    console.line.resume()
    assert port.read() == b"c"
    console.send("d")
    assert port.read() == b"d"


def test_firmware_input_holds_the_sender_and_loses_nothing(console: Console) -> None:
    Port(console.line)
    assert console.line.take(1) == b""
    text = bytes(range(256)) * 4
    console.send(text)
    got = console.line.take(FIRMWARE_INPUT_LIMIT * 2)
    assert len(got) == FIRMWARE_INPUT_LIMIT
    while len(got) < len(text):
        got += console.line.take(100)
    assert got == text


def test_a_person_sees_what_a_program_sees() -> None:
    person = Ring()
    console = Console(person, threading.Lock(), threading.Event())
    port = Port(console.line)
    console.line.write(b"hello")
    person.send(b"typed")
    assert person.output == b"hello"
    assert console.read() == "hello"
    assert port.read() == b"typed"
