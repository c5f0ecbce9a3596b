"""From LLVM text to callable code: the only user of llvmlite."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm

__all__ = [
    "PACKAGE",
    "Library",
    "assembly",
    "compile_object",
    "compile_region",
    "compile_stencils",
    "compiler_digest",
    "host_has",
    "sources_digest",
]

PACKAGE = Path(__file__).parent.parent


def _new_target(level: int = 2, fixed: bool = False) -> llvm.TargetMachine:
    """What generates code: to be loaded anywhere, or ``fixed``, with addresses in the code."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()
    # Otherwise not the static model: its relocations overflow if code lands far from its tables.
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=level,
        codemodel="small" if fixed else "jitdefault",
        reloc="static" if fixed else "pic",
        jit=not fixed,
    )


_target = cache(_new_target)


@cache
def _features() -> frozenset[str]:
    return frozenset(name for name, there in llvm.get_host_cpu_features().items() if there)


def host_has(feature: str) -> bool:
    """Whether the host's processor has a feature, by LLVM's name for it."""
    return feature in _features()


def compile_object(text: str) -> bytes:
    """Compile LLVM assembly, optimised as far as that pays, to the content of an object file."""
    return _compiled(text, _target())


def compile_stencils(text: str) -> bytes:
    """The same for code that is to be copied, and not loaded: see `stencil`."""
    return _compiled(text, _target(2, True))


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
    module, machine = llvm.parse_assembly(text), _target(1)
    passes = llvm.create_new_module_pass_manager()
    if not quick:
        passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options())
    _run_passes(passes, module, builder)
    return machine, module


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


def sources_digest(*folders: Path) -> bytes:
    """A digest of all that generated code depends on: the sources in ``folders``, LLVM, the host's
    CPU."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            digest.update(str(path.relative_to(folder.parent)).encode())
            digest.update(path.read_bytes())
    digest.update(compiler_digest())
    return digest.digest()[:16]


@cache
def compiler_digest() -> bytes:
    """A digest of what turns text into objects: LLVM, the host's CPU, and the options used here."""
    _target()
    versions = (llvmlite.__version__, str(llvm.llvm_version_info), llvm.get_host_cpu_name())
    told = repr((versions, llvm.get_host_cpu_features().flatten())).encode()
    return hashlib.sha256(told + Path(__file__).read_bytes()).digest()[:16]


class Library:
    """Loaded native code. It stays in memory as long as the object lives."""

    def __init__(self, *objects: bytes):
        """Load objects that may use each other's symbols, and those of this process."""
        # Not MCJIT: it resolves the constants of every object to those of the first one.
        self._jit = _linking_compiler()
        builder = llvm.JITLibraryBuilder().add_current_process()
        for content in objects:
            builder.add_object_img(content)
        # Trackers of the linked code and of each lookup: they must live as long as this object.
        self._held = [builder.link(self._jit, "library")]

    def address(self, symbol: str) -> int:
        """The address of an exported symbol. Raises KeyError if there is none."""
        try:
            found = self._jit.lookup("library", symbol)
        except RuntimeError:
            raise KeyError(symbol) from None
        self._held.append(found)
        return int(found[symbol])


def _linking_compiler() -> llvm.LLJIT:
    _target()
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    return llvm.create_lljit_compiler(machine, use_jit_link=True)
