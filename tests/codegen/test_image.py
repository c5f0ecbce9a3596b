"""From object files to images of regions, and into memory."""

from __future__ import annotations

import ctypes

import pytest

from bimetal.accel.loader import Loader
from bimetal.codegen.image import code_in, image
from bimetal.codegen.native import compile_region
from bimetal.codegen.resolve import image_of

TWICE = """
define i64 @region(i64 %a) {
  %b = shl i64 %a, 1
  ret i64 %b
}
"""
CHOOSES = """
define i64 @region(i64 %a) {
  switch i64 %a, label %none [
    i64 0, label %v0
    i64 1, label %v1
    i64 2, label %v2
    i64 3, label %v3
    i64 4, label %v4
  ]
v0:
  %x0 = call i64 @there(i64 10)
  ret i64 %x0
v1:
  ret i64 7
v2:
  %x2 = call i64 @there(i64 5)
  %y2 = call i64 @there(i64 %x2)
  ret i64 %y2
v3:
  ret i64 1234567890123
v4:
  ret i64 9
none:
  %f = uitofp i64 %a to double
  %g = fmul double %f, 1.5
  %h = fptoui double %g to i64
  ret i64 %h
}
declare i64 @there(i64)
"""


def function(address: int) -> object:
    return ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)(address)


@pytest.mark.parametrize("quick", [False, True])
def test_an_image_runs_wherever_it_is_and_finds_its_stub(quick: bool) -> None:
    stub = Loader([])
    there = stub.load(image_of(compile_region(TWICE, quick), []))
    loader = Loader([there])
    content = image_of(compile_region(CHOOSES, quick), ["there"])
    for _ in range(3):
        region = function(loader.load(content))
        results = [region(value) for value in range(6)]  # type: ignore[operator]
        assert results == [20, 7, 20, 1234567890123, 9, 7]
    loader.close()
    stub.close()


def test_more_than_one_chunk_of_memory_is_used() -> None:
    loader = Loader([])
    content = image_of(compile_region(TWICE, True), [])
    large = image(code_in(content) + bytes(700_000))
    addresses = [loader.load(large) for _ in range(4)] + [loader.load(content)]
    assert [function(address)(21) for address in addresses] == [42] * 5  # type: ignore[operator]
    loader.close()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (CHOOSES, "refers to 'there'"),
        (
            "@x = internal global i64 5\n"
            + TWICE.replace("shl i64 %a, 1", "atomicrmw add ptr @x, i64 %a seq_cst"),
            "variables",
        ),
    ],
    ids=["another symbol", "a variable"],
)
def test_what_a_region_has_no_use_for_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        image_of(compile_region(text, True), ["other"])


def test_what_is_not_an_image_is_not_loaded() -> None:
    whole = image_of(compile_region(TWICE, True), [])
    loader = Loader([])
    for content in (
        b"",
        whole[:-1],
        whole[:64],
        whole + b"\0",
        whole[:48] + bytes(16) + whole[64:],
    ):
        with pytest.raises(ValueError, match="damaged"):
            loader.load(content)
