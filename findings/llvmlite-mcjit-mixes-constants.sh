#!/bin/sh
# llvmlite 0.50.0: of several object files in one MCJIT engine, only the first finds its constants.
#
# Position-independent code of the code model "jitdefault" addresses constants relative to its global
# offset table (R_X86_64_GOTOFF64). RuntimeDyld resolves that against the first such table that was
# loaded, whichever object asks, so the second object's functions read their constants somewhere else,
# without an error. Objects without a table of their own are not concerned, nor is LLJIT with JITLink.
#
# Two objects, each with a function that adds a constant to 1 and one that gives the address of the
# other's (which is why there are tables). Seen with llvmlite 0.50.0 (LLVM 22.1) on x86-64:
#
#   first alone:     1.5
#   second alone:    1.25
#   first of both:   1.5
#   second of both:  not 1.25
#
# Ends with 0 as long as it is so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check llvmlite==0.50.0
"$folder/venv/bin/python" - <<'END' | tee "$folder/seen"
import ctypes

import llvmlite.binding as llvm

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()


def machine():
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(codemodel="jitdefault", reloc="pic", jit=True)


def compiled(name, constant, other):
    text = f"""
    declare double @{other}(double)
    define ptr @where_{other}() {{
        ret ptr @{other}
    }}
    define double @{name}(double %x) {{
        %y = fadd double %x, {constant}
        ret double %y
    }}"""
    return machine().emit_object(llvm.parse_assembly(text))


def loaded(*objects):
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine())
    for content in objects:
        engine.add_object_file(llvm.ObjectFileRef.from_data(content))
    engine.finalize_object()
    return engine


def called(engine, name):
    kind = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)
    return kind(engine.get_function_address(name))(1.0)


first, second = compiled("first", "5.0e-01", "cos"), compiled("second", "2.5e-01", "sin")
print("first alone:    ", called(loaded(first), "first"))
print("second alone:   ", called(loaded(second), "second"))
both = loaded(first, second)
print("first of both:  ", called(both, "first"))
print("second of both: ", "1.25" if called(both, "second") == 1.25 else "not 1.25")
END
diff "$folder/seen" - <<'END'
first alone:     1.5
second alone:    1.25
first of both:   1.5
second of both:  not 1.25
END
