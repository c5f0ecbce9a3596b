"""Objects become one image of a library, which is loaded by copying it."""

from __future__ import annotations

import ctypes

import pytest

from bimetal.codegen.library import Library
from bimetal.codegen.linking import link
from bimetal.codegen.native import compile_object


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
    objects = [
        adding("first", "second", (1, 20, 300, 4000)),
        adding("second", "third", (5, 60, 700, 8000)),
        adding("third", "first", (9, 90, 900, 9000)),
    ]
    library = Library(link(objects, ["first", "second", "third", "after_first", "after_third"]))
    for name, expected in {
        "first": (1, 20, 300, 4000), "second": (5, 60, 700, 8000), "third": (9, 90, 900, 9000),
        "after_first": (5, 60, 700, 8000), "after_third": (1, 20, 300, 4000),
    }.items():  # fmt: skip
        numbers = (ctypes.c_int32 * 4)()
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(library.address(name))(ctypes.byref(numbers))
        assert tuple(numbers) == expected
    with pytest.raises(KeyError):
        library.address("after_second")


def test_a_library_calls_what_the_process_has() -> None:
    text = """
declare i32 @memcmp(ptr, ptr, i64)
define i32 @differ(ptr %a, ptr %b) {
  %found = call i32 @memcmp(ptr %a, ptr %b, i64 4096)
  ret i32 %found
}
"""
    library = Library(link([compile_object(text)], ["differ"]))
    differ = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_char_p, ctypes.c_char_p)(
        library.address("differ")
    )
    assert differ(bytes(4096), bytes(4096)) == 0
    assert differ(bytes(4096), bytes(4095) + b"\1") < 0


def test_what_holds_addresses_holds_those_of_this_process() -> None:
    text = """
@table = internal constant [2 x ptr] [ptr @one, ptr @two]
define i64 @one() {
  ret i64 1
}
define i64 @two() {
  ret i64 2
}
define i64 @chosen(i64 %n) {
  %place = getelementptr ptr, ptr @table, i64 %n
  %function = load ptr, ptr %place
  %value = call i64 %function()
  ret i64 %value
}
"""
    object_ = compile_object(text.replace("@table = internal", "@table = "))
    libraries = [Library(link([object_], ["chosen"])) for _ in range(2)]
    for library in libraries:
        chosen = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(library.address("chosen"))
        assert [chosen(n) for n in (0, 1)] == [1, 2]


def test_what_nobody_defines_and_what_two_define_is_an_error() -> None:
    one = compile_object("define i64 @one() {\nret i64 1\n}\n")
    with pytest.raises(ValueError, match="no object defines two"):
        link([one], ["two"])
    with pytest.raises(ValueError, match="two objects define one"):
        link([one, one], ["one"])
    lost = compile_object(
        "declare i64 @nowhere_at_all()\n"
        "define i64 @one() {\n%a = call i64 @nowhere_at_all()\nret i64 %a\n}\n"
    )
    with pytest.raises(ValueError, match="this process has no nowhere_at_all"):
        Library(link([lost], ["one"]))


def test_variables_have_no_place_in_a_library() -> None:
    counting = "define i64 @next() {\n%a = load i64, ptr @counter\nret i64 %a\n}\n"
    text = f"@counter = global i64 7\n{counting}"
    with pytest.raises(ValueError, match="variables in"):
        link([compile_object(text)], ["next"])


def test_an_image_that_was_cut_off_is_refused() -> None:
    image = link([compile_object("define i64 @one() {\nret i64 1\n}\n")], ["one"])
    with pytest.raises(ValueError, match="incomplete"):
        Library(image[:-1])
