"""Descriptions are traced by many threads at once: each into its own blocks, and whole ones only.

What is traced is kept for the life of the process, so each attempt has a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys

PREAMBLE = """
import hashlib, sys, threading
from bimetal.codegen.hole import Stencil, Stencils
from bimetal.codegen.program import Program
from bimetal.codegen.stencil import GO_ON, WAY_OUT
from bimetal.codegen.layout import Layout
from bimetal.isa.riscv import rv64
from bimetal.ir.text import listing

def together(*works):
    results = [None] * len(works)
    def work(number):
        barrier.wait()
        results[number] = works[number]()
    barrier = threading.Barrier(len(works))
    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(works))]
    sys.setswitchinterval(1e-6)
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return results

def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()
"""


def outcome(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def test_two_interpreters_are_written_at_once() -> None:
    texts = """
def written(program):
    none = Stencil(b"", ())
    modules = program.modules(Stencils({GO_ON: none, WAY_OUT: none}))
    return digest("".join(program.stencil_modules() + modules))
def shared():
    return written(Program(Layout.of(rv64, True)))
def alone():
    return written(Program(Layout.of(rv64, False)))
"""
    expected = outcome(texts + "print([shared(), alone()])")
    assert outcome(texts + "print(together(shared, alone))") == expected


def test_the_same_instructions_are_traced_at_once() -> None:
    work = """
def work():
    said = []
    for insn in rv64.insns:
        for fixed, block in insn.variants().items():
            said.append(f"{insn.name} {fixed}\\n{listing(block)}")
    for routine in rv64.routines.values():
        said.append(f"{routine.name}\\n{listing(routine.block())}")
    return digest("".join(said))
"""
    expected = outcome(work + "print([work()] * 4)")
    assert outcome(work + "print(together(*[work] * 4))") == expected
