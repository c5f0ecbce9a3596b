#!/bin/sh
# llvmlite 0.50.0: the name of a library that LLJIT could not link stays taken.
#
# JITLibraryBuilder.link raises RuntimeError if a symbol that the library needs is missing. Whoever
# then does better, and links the same library under the same name with the symbol in it, is told
# that the name is in use, though there is no library of that name to look anything up in, and no
# object to close. Names made of a count of what was linked, for one, fail for ever after one failure.
#
# Seen with llvmlite 0.50.0 (LLVM 22.1) and Python 3.11:
#
#   without the symbol: refused
#   with the symbol:    Library name `sum' is already in use.
#   by another name:    5
#
# Ends with 0 as long as it is so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check llvmlite==0.50.0
"$folder/venv/bin/python" - <<'EOF2' 2>/dev/null | tee "$folder/seen"
import ctypes

import llvmlite.binding as llvm

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()
jit = llvm.create_lljit_compiler(llvm.Target.from_default_triple().create_target_machine(jit=True))
TEXT = """
declare i32 @two()
define i32 @sum() {
  %two = call i32 @two()
  %sum = add i32 %two, 3
  ret i32 %sum
}
"""
two = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 2)


def link(name, with_symbol):
    builder = llvm.JITLibraryBuilder().add_ir(TEXT).export_symbol("sum")
    if with_symbol:
        builder.import_symbol("two", ctypes.cast(two, ctypes.c_void_p).value)
    return builder.link(jit, name)


try:
    link("sum", with_symbol=False)
except RuntimeError:
    print("without the symbol: refused")
try:
    link("sum", with_symbol=True)
except RuntimeError as error:
    print("with the symbol:   ", error)
library = link("sum again", with_symbol=True)
print("by another name:   ", ctypes.CFUNCTYPE(ctypes.c_int)(library["sum"])())
EOF2
diff "$folder/seen" - <<'EOF2'
without the symbol: refused
with the symbol:    Library name `sum' is already in use.
by another name:    5
EOF2
