"""Compiling LLVM's assembly and loading what comes of it."""

from __future__ import annotations

import ctypes
import gc
from mmap import PAGESIZE
from pathlib import Path

import pytest

from bimetal.codegen.native import Library, compile_object

TEXT = """
define i64 @sum(ptr %from, i64 %count) {
entry:
  br label %loop
loop:
  %at = phi i64 [ 0, %entry ], [ %next, %loop ]
  %total = phi i64 [ 0, %entry ], [ %more, %loop ]
  %place = getelementptr i64, ptr %from, i64 %at
  %value = load i64, ptr %place
  %more = add i64 %total, %value
  %next = add i64 %at, 1
  %done = icmp uge i64 %next, %count
  br i1 %done, label %end, label %loop
end:
  ret i64 %more
}
"""
TIMES = 100
SLACK = 2 << 20
"""Bytes of breathing space for the heap; passes that are not freed would be three times that."""


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * PAGESIZE


def test_compiling_leaves_nothing_behind() -> None:
    for _ in range(TIMES // 4):
        compile_object(TEXT)
    gc.collect()
    before = resident()
    for _ in range(TIMES):
        compile_object(TEXT)
    gc.collect()
    assert resident() - before < SLACK


def adding(name: str, other: str, numbers: tuple[int, ...]) -> bytes:
    """An object with a function that adds constants to a vector, and says what ``other`` does."""
    constant = ", ".join(f"i32 {number}" for number in numbers)
    return compile_object(f"""
declare void @{other}(ptr)
define void @{name}(ptr %to) {{
  %old = load <4 x i32>, ptr %to, align 1
  %new = add <4 x i32> %old, <{constant}>
  store <4 x i32> %new, ptr %to, align 1
  ret void
}}
define void @after_{name}(ptr %to) {{
  call void @{other}(ptr %to)
  ret void
}}
""")


def test_each_object_of_a_library_has_its_own_constants() -> None:
    library = Library(
        adding("first", "second", (1, 20, 300, 4000)),
        adding("second", "third", (5, 60, 700, 8000)),
        adding("third", "first", (9, 90, 900, 9000)),
    )
    for name, expected in {
        "first": (1, 20, 300, 4000), "second": (5, 60, 700, 8000), "third": (9, 90, 900, 9000),
        "after_first": (5, 60, 700, 8000), "after_third": (1, 20, 300, 4000),
    }.items():  # fmt: skip
        numbers = (ctypes.c_int32 * 4)()
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(library.address(name))(ctypes.byref(numbers))
        assert tuple(numbers) == expected
    with pytest.raises(KeyError):
        library.address("fourth")


def test_a_library_calls_what_the_process_has() -> None:
    library = Library(
        compile_object("""
declare i32 @memcmp(ptr, ptr, i64)
define i32 @differ(ptr %a, ptr %b) {
  %found = call i32 @memcmp(ptr %a, ptr %b, i64 4096)
  ret i32 %found
}
""")
    )
    differ = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_char_p, ctypes.c_char_p)(
        library.address("differ")
    )
    assert differ(bytes(4096), bytes(4096)) == 0
    assert differ(bytes(4096), bytes(4095) + b"\1") < 0
