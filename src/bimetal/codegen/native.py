"""From LLVM text to objects: the only user of llvmlite."""

from __future__ import annotations

from functools import cache

import llvmlite.binding as llvm

__all__ = ["assembly", "compile_object", "compile_region", "compile_stencils", "prepare"]


def _new_target(level: int = 2, model: str = "small", reloc: str = "pic") -> llvm.TargetMachine:
    """What generates code at a level of optimisation, for a code model and a kind of relocation."""
    # A guest selects what it cannot predict: the same as a branch cost a loop 3.5 times its time.
    llvm.set_option("bimetal", "-x86-cmov-converter=false")
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()
    features = llvm.get_host_cpu_features()
    # Its conversions from half precision note subnormal operands (`fp.DE`); those of F16C do not.
    features["avx512fp16"] = False
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=features.flatten(),
        opt=level,
        codemodel=model,
        reloc=reloc,
    )


_target = cache(_new_target)

REGIONS = (1, "large")
"""How code of regions is generated. The large model: they are far from the stubs they go to."""


def compile_object(text: str) -> bytes:
    """Compile LLVM assembly, optimised as far as that pays, to the content of an object file."""
    return _compiled(text, _target())


def compile_stencils(text: str) -> bytes:
    """The same for code that is to be copied, and not loaded: see `stencil`."""
    return _compiled(text, _target(reloc="static"))


def _compiled(text: str, machine: llvm.TargetMachine) -> bytes:
    module = llvm.parse_assembly(text)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    builder = llvm.create_pass_builder(machine, options)
    _run_passes(builder.getModulePassManager(), module, builder)
    return bytes(machine.emit_object(module))


def _region(text: str, quick: bool) -> tuple[llvm.TargetMachine, llvm.ModuleRef]:
    """A region ready for code generation, and the target machine to generate it.

    Only the passes that matter are run: promotion of variables to registers, unless it is ``quick``
    and has none, and simplification. All of LLVM's second level takes three times as long and makes
    some regions faster and others slower. Code generation without optimisation takes a fifth of the
    time, but where much code is executed little, the result is as slow as the interpreter.
    """
    module, machine = llvm.parse_assembly(text), _target(*REGIONS)
    passes = llvm.create_new_module_pass_manager()
    if not quick:
        passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options())
    _run_passes(passes, module, builder)
    return machine, module


def prepare() -> None:
    """Make what the first region would wait for."""
    _target(*REGIONS)


def _run_passes(
    passes: llvm.ModulePassManager, module: llvm.ModuleRef, builder: llvm.PassBuilder
) -> None:
    """Run passes once, and free them.

    llvmlite 0.50 does not free a pass manager when it is closed: ``ObjectRef._dispose``, which does
    nothing, hides the method that would. The leak is 0.1 MB for each optimised region.
    """
    try:
        passes.run(module, builder)
    finally:
        llvm.NewPassManager._dispose(passes)
        passes.detach()


def compile_region(text: str, quick: bool) -> bytes:
    """Compile a region to the content of an object file; ``quick`` trades speed for compile
    time."""
    machine, module = _region(text, quick)
    return bytes(machine.emit_object(module))


def assembly(text: str, quick: bool) -> str:
    """The host's instructions that `compile_region` generates, as assembly text."""
    machine, module = _region(text, quick)
    return str(machine.emit_assembly(module))
