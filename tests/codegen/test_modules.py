"""One program in several modules: declared, compiled side by side, loaded together."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess

import pytest

from bimetal.codegen import compiling
from bimetal.codegen.library import Library
from bimetal.codegen.linking import link
from bimetal.codegen.modules import SIZE, modules

HEAD = "attributes #0 = { nounwind }\n"
ADD = "define internal i64 @add(i64 %a, i64 %b) #0 {\n%c = add i64 %a, %b\nret i64 %c\n}\n"
TWICE = "define i64 @twice(i64 %a) #0 {\n%c = call i64 @add(i64 %a, i64 %a)\nret i64 %c\n}\n"
FOURFOLD = """define i64 @fourfold(i64 %a) #0 {
%b = call i64 @twice(i64 %a)
%c = call i64 @twice(i64 %b)
%d = sub i64 %c, %b
%e = call i64 @add(i64 %d, i64 %b)
ret i64 %e
}
"""


def call(library: Library, name: str, argument: int) -> int:
    function = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(library.address(name))
    return int(function(argument))


def test_each_module_declares_what_others_define() -> None:
    first, second = modules(HEAD, [[ADD, TWICE], [FOURFOLD]])
    assert "declare" not in first
    assert second.count("declare i64 @twice(i64 %a)\n") == 1
    assert second.count("declare i64 @add(i64 %a, i64 %b)\n") == 1
    assert [text.startswith(HEAD) for text in (first, second)] == [True, True]


def test_a_change_in_one_group_leaves_the_others_as_they_are() -> None:
    before = modules(HEAD, [[ADD], [TWICE], [FOURFOLD]])
    after = modules(HEAD, [[ADD.replace("add i64", "sub i64")], [TWICE], [FOURFOLD]])
    assert [old == new for old, new in zip(before, after, strict=True)] == [False, True, True]


def test_a_long_group_becomes_several_modules() -> None:
    long = [f"define void @f{n}() {{\n; {'-' * (SIZE // 2)}\nret void\n}}\n" for n in range(5)]
    assert [text.count("define") for text in modules(HEAD, [long])] == [2, 2, 1]


def test_modules_that_were_compiled_apart_are_one_program() -> None:
    texts = modules(HEAD, [[ADD], [TWICE], [FOURFOLD]])
    library = Library(link(compiling.compile_objects(texts), ["fourfold"]))
    assert call(library, "fourfold", 21) == 84


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Modules for which helpers are started on any host."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    return [
        f"define i64 @f{n}(i64 %a) {{\n%b = mul i64 %a, {n}\nret i64 %b\n}}\n"
        for n in range(2 * compiling.WORTH)
    ]


def test_helpers_answer_in_the_order_of_the_modules(several: list[str]) -> None:
    names = [f"f{n}" for n in range(len(several))]
    library = Library(link(compiling.compile_objects(several), names))
    assert [call(library, f"f{n}", 7) for n in range(len(several))] == [
        7 * n for n in range(len(several))
    ]


def test_what_a_lost_helper_leaves_is_done_here(
    several: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(subprocess.Popen[bytes]):
        def __init__(self, *arguments: object, **options: object):
            super().__init__(*arguments, **options)  # type: ignore[call-overload]
            self.send_signal(signal.SIGKILL)
            self.wait()

    monkeypatch.setattr(subprocess, "Popen", Killed)
    library = Library(link(compiling.compile_objects(several), ["f3"]))
    assert call(library, "f3", 5) == 15
