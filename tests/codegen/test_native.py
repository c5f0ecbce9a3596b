"""Compiling LLVM's assembly and loading what comes of it."""

from __future__ import annotations

import gc
from mmap import PAGESIZE
from pathlib import Path

from bimetal.codegen.native import compile_object

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
