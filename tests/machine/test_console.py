"""The console as a program uses it."""

import pickle
import re
import threading
from collections.abc import Callable

import pytest

from bimetal.backends.chars.null import NoChars
from bimetal.backends.chars.ring import Ring
from bimetal.base.errors import BimetalError
from bimetal.machine.console import FIRMWARE_INPUT_LIMIT, Console, ConsoleLine
from bimetal.machine.expect import EndOfRun, TimedOut
from bimetal.machine.gate import VcpuGate
from bimetal.machine.result import Ending, Result


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


def started() -> VcpuGate:
    gate = VcpuGate()
    gate.started = True
    return gate


@pytest.fixture
def console() -> Console:
    gate = started()
    console = Console(NoChars(), gate)
    gate.on_over.add(console.wake)
    return console


def end(console: Console, result: Result) -> None:
    with console.lock:
        console._gate.end(result)


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
            with console.lock:
                console.line.write(bytes((byte,)))

    thread = later(boot)
    assert console.expect("login: ", timeout=20).text == "login: "
    thread.join()


def test_what_does_not_come_shows_the_last_lines(console: Console) -> None:
    console.line.write(b"".join(b"line %d\n" % number for number in range(100)))
    with pytest.raises(TimedOut) as caught:
        console.expect("login (x):", timeout=0.01)
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.cause == (
        "the console did not show 'login (x):': nothing like it came for 0.01 s"
    )
    assert caught.value.remedy.startswith("its last lines are:\nline 80\n")
    assert "line 80" in str(caught.value)


@pytest.mark.parametrize(
    ("wanted", "hint"),
    [
        (r"line \d\d", r"for a pattern: expect(re.compile('line \\d\\d'))"),
        (r"l.*9", "as a pattern it would have been found: expect(re.compile('l.*9'))"),
        ("^line", "as a pattern it would have been found"),
        ("login:|Password:", "a text is looked for as it stands"),
        ("[a-z]{4} ", "as a pattern it would have been found"),
        (r"\$ ", "a text is looked for as it stands"),
        ("a|(", ""),
        ("root@debian:~# ", ""),
        ("[  OK  ] Reached target", ""),
        ("Welcome to Debian (x86)!", ""),
        ("what?", ""),
    ],
)
def test_a_text_that_looks_like_a_pattern_is_told_of(
    console: Console, wanted: str, hint: str
) -> None:
    console.line.write(b"line 9\n")
    with pytest.raises(TimedOut) as caught:
        console.expect(wanted, timeout=0)
    assert hint in caught.value.remedy
    assert ("re.compile" in caught.value.remedy) == bool(hint)


def test_characters_that_are_not_ascii(console: Console) -> None:
    console.line.write("\xff".encode("latin-1") + "Größe: 5 µm, weiter".encode())
    found = console.expect(re.compile(r"GRÖSSE|größe: (\w) ([µn]m)", re.IGNORECASE))
    assert (found.text, found.groups, found.before) == ("Größe: 5 µm", ("5", "µm"), "\ufffd")
    assert console.expect(", ").before == ""
    assert console.read() == "weiter"


def test_bytes_and_patterns_of_bytes(console: Console) -> None:
    console.line.write(b"\x7fELF\x02\xfe\n")
    assert console.expect(b"\x7fE").text == "\x7fE"
    assert console.expect(re.compile(rb"F([\x01-\x03])\xfe")).groups == ("\x02",)
    assert console.read() == "\n"


def test_what_cannot_be_expected(console: Console) -> None:
    with pytest.raises(TypeError, match="give a text or a compiled pattern, not 5"):
        console.expect(5)  # type: ignore[arg-type]


def test_without_a_timeout_the_end_is_waited_for(console: Console) -> None:
    thread = later(lambda: end(console, Result(Ending.POWER_OFF, 3)))
    with pytest.raises(EndOfRun, match=r"the machine has ended, power off, code 3") as caught:
        console.expect("login:", timeout=None)
    thread.join()
    assert caught.value.result == Result(Ending.POWER_OFF, 3)
    assert not isinstance(caught.value, TimeoutError)
    assert "(no output at all)" in caught.value.remedy
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), again.args, again.result) == (EndOfRun, caught.value.args, again.result)


def test_output_before_the_end_is_found_after_it(console: Console) -> None:
    console.line.write(b"done")
    end(console, Result(Ending.STOPPED))
    assert console.expect("done").text == "done"


def test_a_defect_is_not_taken_for_the_end(console: Console) -> None:
    failure = ZeroDivisionError()
    console._gate.fail(failure)
    with pytest.raises(EndOfRun, match="the machine has failed") as caught:
        console.expect("login:")
    assert caught.value.__cause__ is failure


def test_before_the_start_nothing_is_expected() -> None:
    console = Console(NoChars(), VcpuGate())
    with pytest.raises(BimetalError, match=r"the machine was not started.*call start\(\) first"):
        console.expect("login:")


def test_each_output_is_for_one_of_two_threads_that_wait_for_it(console: Console) -> None:
    found: list[str] = []
    mark = re.compile(r"<\d>")
    threads = [later(lambda: found.append(console.expect(mark, timeout=20).text)) for _ in range(2)]
    for byte in b"<1> and <2>":
        with console.lock:
            console.line.write(bytes((byte,)))
    for thread in threads:
        thread.join()
    assert sorted(found) == ["<1>", "<2>"]


def test_a_line_is_sent_with_its_end(console: Console) -> None:
    port = Port(console.line)
    console.sendline("ls")
    console.sendline(b"\xff", end="\r")
    console.sendline()
    assert port.read() == b"ls\n\xff\r\n"


def test_a_console_says_where_it_leads(console: Console) -> None:
    console.line.write(b"x" * 1234)
    assert repr(console) == "<console NoChars: 1,234 bytes of output>"
    assert repr(Console(NoChars(), VcpuGate(), "none")) == "<console none: 0 bytes of output>"


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
    console = Console(person, started())
    port = Port(console.line)
    console.line.write(b"hello")
    person.send(b"typed")
    assert person.output == b"hello"
    assert console.read() == "hello"
    assert port.read() == b"typed"
