#!/bin/sh
# llvmlite 0.50.0 (LLVM 22.1): a vector of unsigned zeros, converted to floating point by the
# constrained intrinsic while rounding is downward, becomes minus zero.
#
# llvm.experimental.constrained.uitofp for four numbers of 32 bits, with round.dynamic and
# fpexcept.strict, is made of two halves and two constants where the host has no instruction for it
# (x86-64 before AVX-512). Their sum is 0, which has a minus sign if rounding is downward (IEEE 754,
# 6.3); an integer's conversion has none (5.4.1). Signed conversion, and that of one number, are
# right: their code has no such sum. Numbers extended to 64 bits and converted as signed ones are.
#
# Seen with llvmlite 0.50.0 and Python 3.11, code generated for x86-64-v3, 0 converted:
#
#   downward  uitofp <4 x i32>       80000000
#   downward  sitofp <4 x i32>       00000000
#   downward  sitofp of zext <4 x i32> to <4 x i64>  00000000
#   nearest   uitofp <4 x i32>       00000000
#
# Ends with 0 as long as it is so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check llvmlite==0.50.0
"$folder/venv/bin/python" - <<'EOF2' | tee "$folder/seen"
import ctypes

import llvmlite.binding as llvm

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()
MODE = 'metadata !"round.dynamic", metadata !"fpexcept.strict"'


def convert(name, wide, rounding):
    source = "i64" if wide else "i32"
    extended = "%x = zext <4 x i32> %n to <4 x i64>" if wide else "%x = add <4 x i32> %n, zeroinitializer"
    text = f"""
declare <4 x float> @llvm.experimental.constrained.{name}.v4f32.v4{source}(<4 x {source}>, metadata, metadata)
define void @f(ptr %from, ptr %to) strictfp {{
  %n = load <4 x i32>, ptr %from
  {extended}
  %r = call <4 x float> @llvm.experimental.constrained.{name}.v4f32.v4{source}(<4 x {source}> %x, {MODE}) strictfp
  store <4 x float> %r, ptr %to
  ret void
}}
"""
    module = llvm.parse_assembly(text)
    module.verify()
    machine = llvm.Target.from_default_triple().create_target_machine(cpu="x86-64-v3", jit=True)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    zeros, result = (ctypes.c_uint32 * 4)(), (ctypes.c_uint32 * 4)()
    ctypes.CDLL("libm.so.6").fesetround({"downward": 0x400, "nearest": 0}[rounding])
    try:
        ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(engine.get_function_address("f"))(
            ctypes.addressof(zeros), ctypes.addressof(result)
        )
    finally:
        ctypes.CDLL("libm.so.6").fesetround(0)
    return f"{result[0]:08x}"


print("downward  uitofp <4 x i32>      ", convert("uitofp", False, "downward"))
print("downward  sitofp <4 x i32>      ", convert("sitofp", False, "downward"))
print("downward  sitofp of zext <4 x i32> to <4 x i64> ", convert("sitofp", True, "downward"))
print("nearest   uitofp <4 x i32>      ", convert("uitofp", False, "nearest"))
EOF2
[ "$(awk '{print $NF}' "$folder/seen" | tr '\n' ' ')" = "80000000 00000000 00000000 00000000 " ]
