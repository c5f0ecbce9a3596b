"""What QEMU says of its processor models, and one instruction of each extension."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from bimetal.isa.x86.features import feature_named

from .x86_machine import assemble

__all__ = [
    "BUFFER",
    "KERNEL",
    "QEMU",
    "QEMU_USER",
    "USER",
    "expansions",
    "tcg",
    "undefined_in_qemu",
]

QEMU, QEMU_USER = "qemu-system-x86_64", "qemu-x86_64-static"
BUFFER = 0x1_0000
"""Where programs on our vCPUs have the memory that RDI points to."""

USER = {
    "cmov": "cmovc eax, ecx", "cx8": "cmpxchg8b [rdi]", "cx16": "cmpxchg16b [rdi]",
    "clflush": "clflush [rdi]", "mmx": "paddb mm0, mm1", "fxsr": "fxsave [rdi]",
    "sse": "addps xmm0, xmm1", "sse2": "addpd xmm0, xmm1", "sse3": "haddps xmm0, xmm1",
    "pclmulqdq": "pclmulqdq xmm0, xmm1, 0", "ssse3": "pshufb xmm0, xmm1",
    "fma": "vfmadd132ps xmm0, xmm1, xmm2", "sse4_1": "pmulld xmm0, xmm1",
    "sse4_2": "crc32 eax, ecx", "movbe": "movbe eax, [rdi]", "popcnt": "popcnt eax, ecx",
    "aes": "aesenc xmm0, xmm1", "xsave": "xsave [rdi]", "avx": "vaddps xmm0, xmm1, xmm2",
    "f16c": "vcvtph2ps xmm0, xmm1", "rdrand": "rdrand eax", "bmi1": "andn eax, ecx, edx",
    "avx2": "vpaddb ymm0, ymm1, ymm2", "bmi2": "pdep eax, ecx, edx", "rdseed": "rdseed eax",
    "adx": "adcx eax, ecx", "clflushopt": "clflushopt [rdi]", "clwb": "clwb [rdi]",
    "sha_ni": "sha256msg1 xmm0, xmm1", "gfni": "gf2p8mulb xmm0, xmm1",
    "vaes": "vaesenc ymm0, ymm1, ymm2", "vpclmulqdq": "vpclmulqdq ymm0, ymm1, ymm2, 0",
    "rdpid": "rdpid rax", "xsaveopt": "xsaveopt [rdi]", "xsavec": "xsavec [rdi]",
    "rdtscp": "rdtscp", "lahf_lm": "lahf", "tsc": "rdtsc", "sse4a": "extrq xmm0, xmm1",
}  # fmt: skip
"""An instruction of each extension that programs can try."""
KERNEL = {
    "fsgsbase": "rdfsbase rax", "invpcid": "invpcid rax, [rdi]", "smap": "clac",
    "monitor": "monitor", "sep": "sysenter", "msr": "rdmsr",
}  # fmt: skip
"""Others, which only kernels can try, or which need one."""


@cache
def expansions(*models: str) -> dict[str, dict[str, Any]]:
    """The properties of QEMU's models, by the names that they have there."""
    command = [QEMU, "-M", "none", "-accel", "tcg", "-S", "-display", "none", "-qmp", "stdio"]
    asked: list[dict[str, Any]] = [{"execute": "qmp_capabilities"}]
    asked += [
        {
            "execute": "query-cpu-model-expansion",
            "arguments": {"type": "full", "model": {"name": name}},
        }
        for name in models
    ]
    asked.append({"execute": "quit"})
    said = subprocess.run(
        command, input="\n".join(map(json.dumps, asked)), capture_output=True, text=True,
        check=True, timeout=60,
    ).stdout  # fmt: skip
    answers = [json.loads(line) for line in said.splitlines()]
    found = [each["return"]["model"]["props"] for each in answers if each.get("return")]
    assert len(found) == len(models), said
    return dict(zip(models, found, strict=True))


def has(properties: dict[str, Any]) -> set[str]:
    """The features that properties tell of, by our names; and what else is on."""
    return {feature_named(name) for name, value in properties.items() if value is True}


def tcg() -> set[str]:
    """What QEMU's own translator has."""
    return has(expansions("max")["max"])


PROGRAM = """
#define _GNU_SOURCE 1
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>
static volatile int undefined;
static char area[4096] __attribute__((aligned(64)));
static void handle(int signal, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    undefined = signal == SIGILL;
    registers[REG_RIP] = registers[REG_R15];
}
int main(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = handle;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGILL, &action, 0);
    sigaction(SIGSEGV, &action, 0);
    TRIES
    return 0;
}
"""
TRY = """
    undefined = 0;
    __asm__ volatile ("lea 1f(%%rip), %%r15\\n xor %%eax, %%eax\\n xor %%ecx, %%ecx\\n"
        "xor %%edx, %%edx\\n .byte CODE\\n 1:" :: "D"(area)
        : "rax", "rbx", "rcx", "rdx", "r15", "memory", "cc", "xmm0");
    printf("%d NAME\\n", undefined);
"""


def undefined_in_qemu(model: str, names: Iterable[str], folder: Path) -> set[str]:
    """The extensions whose instruction is undefined for a program on QEMU's model."""
    tries = "".join(
        TRY.replace("CODE", ", ".join(f"{byte:#x}" for byte in assemble(USER[name]))).replace(
            "NAME", name
        )
        for name in names
    )
    (folder / "tries.c").write_text(PROGRAM.replace("TRIES", tries))
    built = ["cc", "-static", "-O1", "tries.c", "-o", "tries"]
    subprocess.run(built, cwd=folder, check=True)
    said = subprocess.run(
        [QEMU_USER, "-cpu", model, folder / "tries"],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    lines = [line.split() for line in said.splitlines()]
    return {name for undefined, name in lines if undefined == "1"}
