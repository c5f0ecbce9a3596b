"""Build the test programs of QEMU for AArch64 with Debian's cross compiler and run them.

    python -m tools.qemu_tests system [PATTERN]   images without an operating system, on arm-virt
    python -m tools.qemu_tests linux [PATTERN]    programs of Linux, in a booted debian-arm64

Sources are those of Debian 13's package of QEMU, fetched when they are first needed. An image
prints and ends by semihosting, with 0 if all that it tried was right.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import click

from bimetal import Machine
from bimetal.accel.choose import ENGINES
from tools.guest_programs import Latitude, compare_in_guests
from tools.source_package import fetch_source, suite_folder

__all__ = [
    "COMPILER",
    "LATITUDE",
    "SYSTEM",
    "Image",
    "linux_programs",
    "run_image",
    "system_images",
]

COMPILER = "aarch64-linux-gnu-gcc"
SUITE = "qemu-tests"
TESTS = "tests/tcg"
BARE = (
    "-O0 -nostdlib -static -fno-pie -no-pie -mno-outline-atomics -Wl,--build-id=none"
    " -Wl,--no-warn-rwx-segments"
).split()
HOSTED = "-O0 -g0 -w -static -fno-strict-aliasing".split()
ARMV8_3, ARMV8_5 = "-march=armv8.3-a", "-march=armv8.5-a"


@dataclass(frozen=True)
class Image:
    """A bare program: where its source lies, how it is built and run; ``typed`` is what somebody
    has to type."""

    source: str
    options: tuple[str, ...] = ()
    board: str = "arm-virt"
    cpu_model: str = "max"
    typed: str = ""


SYSTEM: Mapping[str, Image] = {
    "hello": Image("multiarch/system/hello.c"),
    "interrupt": Image("multiarch/system/interrupt.c"),
    "memory": Image("multiarch/system/memory.c", ("-DCHECK_UNALIGNED=1",)),
    "feat-xs": Image("aarch64/system/feat-xs.c"),
    "pauth-3": Image("aarch64/system/pauth-3.c", (ARMV8_3,), cpu_model="max,pauth-impdef=off"),
    "semiconsole": Image("aarch64/system/semiconsole.c", typed="some text, and then X"),
    "semiheap": Image("aarch64/system/semiheap.c"),
    "vtimer": Image(
        "aarch64/system/vtimer.c", board="arm-virt,virtualization=on", cpu_model="cortex-a57"
    ),
}
"""By name. Left out: ``mte`` and ``memory-sve``, for MTE and SVE are declared absent."""

LINUX: Mapping[str, tuple[str, ...]] = {
    "bti-1": ("-fno-stack-protector", "-mbranch-protection=standard", "-nostdlib"),
    "bti-3": ("-fno-stack-protector", "-mbranch-protection=standard", "-nostdlib"),
    "dcpop": ("-march=armv8.2-a",),
    "dcpodp": (ARMV8_5,),
    "pauth-1": (ARMV8_3,),
    "pauth-2": (ARMV8_3,),
    "pauth-4": (ARMV8_3,),
    "pauth-5": (ARMV8_3,),
    "test-2375": (ARMV8_3,),
    "test-aes": ("-O", "-march=armv8-a+aes"),
    "sha1-vector": ("-O3",),
    "sha512-vector": ("-O3",),
}
"""What programs of Linux are built with that need more than others."""

OTHER_SOURCES = {
    "fcvt": "arm/fcvt.c",
    "sha1-vector": "multiarch/sha1.c",
    "sha512-vector": "multiarch/sha512.c",
}
ABSENT = ("sme-*", "sve-*", "mte-*", "test-826", "linux-test")
"""Programs that need SME, SVE or MTE, which are declared absent, or a network."""

LATITUDE = Latitude(
    free=("signals", "sysregs", "test-mmap"), unordered=("testthread",), ours=("tb-link",)
)
"""Programs of Linux that print what threads saw, the processor's kind, or addresses; one whose
threads print by turns that they are not told; and one that QEMU 7.2 at times leaves in a loop that
another CPU has patched."""


def sources() -> Path:
    """QEMU's tests/tcg."""
    return fetch_source("qemu", SUITE, (f"{TESTS}/",)) / TESTS


def compile_program(made: Path, *words: object) -> Path:
    """Compile, unless that was done before."""
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        fresh = made.with_name(f"{made.name}.new")
        command = [COMPILER, *map(str, words), "-o", str(fresh)]
        subprocess.run(command, check=True, capture_output=True, text=True)
        fresh.replace(made)
    return made


def system_images(pattern: str = "*") -> dict[str, Path]:
    """The images whose names match, built."""
    tests, made = sources(), suite_folder(SUITE) / "system"
    common = (tests / "minilib" / "printf.c", "-lgcc")
    boot, script = (tests / "aarch64" / "system" / name for name in ("boot.S", "kernel.ld"))
    options = (*BARE, f"-I{tests / 'minilib'}", f"-Wl,-T{script}")
    return {
        name: compile_program(
            made / name, *options, *image.options, boot, tests / image.source, *common
        )
        for name, image in SYSTEM.items()
        if fnmatch(name, pattern)
    }


def run_image(name: str, path: Path, accel: str, seconds: float) -> tuple[str, str]:
    """Run an image; "passed" or what went wrong, and what it printed."""
    image = SYSTEM[name]
    with Machine(
        image.board,
        memory="128M",
        kernel=path,
        accel=accel,
        cpu_model=image.cpu_model,
        semihosting=True,
    ) as vm:
        vm.start()
        vm.console.send(image.typed)
        try:
            code = vm.wait(seconds).code
        except TimeoutError:
            return f"no verdict after {seconds:g} s", vm.console.log
        return "passed" if code == 0 else f"ended with {code}", vm.console.log


def linux_programs(pattern: str = "*") -> dict[str, Path]:
    """The programs of Linux whose names match, built."""
    tests, made = sources(), suite_folder(SUITE) / "linux"
    found = {
        path.stem: path
        for folder in ("multiarch", "multiarch/linux", "aarch64")
        for path in sorted((tests / folder).glob("*.c"))
    } | {name: tests / path for name, path in OTHER_SOURCES.items()}
    include = [f"-I{tests / folder}" for folder in ("", "multiarch", "multiarch/libs", "aarch64")]
    helpers = tests / "multiarch" / "libs" / "float_helpers.c"
    programs = {}
    for name, source in found.items():
        if fnmatch(name, pattern) and not any(fnmatch(name, each) for each in ABSENT):
            more = (helpers,) if name.startswith("float_") else ()
            words = (*HOSTED, *LINUX.get(name, ()), *include, source, *more, "-lm", "-lpthread")
            programs[name] = compile_program(made / name, *words)
    return programs


@click.group()
def main() -> None:
    """Build and run QEMU's test programs for AArch64."""


@main.command()
@click.argument("pattern", default="*")
@click.option("--accel", type=click.Choice(list(ENGINES)), default="jit")
@click.option("--seconds", default=120.0, show_default=True, help="Limit for one image.")
def system(pattern: str, accel: str, seconds: float) -> None:
    """Run the images that match PATTERN and print 'N passed, N failed'."""
    images = system_images(pattern)
    failed = 0
    for name, path in images.items():
        verdict, printed = run_image(name, path, accel, seconds)
        click.echo(f"{name}: {verdict}")
        if verdict != "passed":
            failed += 1
            click.echo(printed[-2000:])
    click.echo(f"{len(images) - failed} passed, {failed} failed")
    raise SystemExit(bool(failed))


@main.command()
@click.argument("pattern", default="*")
@click.option("--accel", type=click.Choice(list(ENGINES)), default="jit")
@click.option("--cpus", default=2, show_default=True)
def linux(pattern: str, accel: str, cpus: int) -> None:
    """Run the programs that match PATTERN in a guest, and in the same under QEMU."""
    raise SystemExit(compare_in_guests(linux_programs(pattern), accel, cpus, LATITUDE))


if __name__ == "__main__":
    main()
