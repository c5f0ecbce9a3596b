"""Build the programs of QEMU and Valgrind that go through x86's instructions, and run them in a
guest and on the host's own processor, which is right.

    python -m tools.x86_programs [PATTERN]

Names are `qemu64-`, `qemu32-`, `valgrind64-` and `valgrind32-` and that of a source, for code of so
many bits. Sources are those of Debian 13's packages, fetched when they are first needed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path

import click

from bimetal.accel.choose import ENGINES
from tools.guest_programs import Latitude, compare_with_host
from tools.qemu_tests import SUITE as QEMU_SUITE
from tools.qemu_tests import sources as qemu_sources
from tools.source_package import fetch_source, suite_folder

__all__ = ["COMPILER", "GUEST", "LATITUDE", "programs", "sources"]

COMPILER = "gcc"
GUEST = "debian-amd64"
"""The cloud kernel has no segments of 16 bits."""
VALGRIND_SUITE = "valgrind-tests-x86"
TESTS = "none/tests"
PARTS = (f"{TESTS}/amd64/", f"{TESTS}/x86/", f"{TESTS}/malloc.h", "include/", "tests/")
EVERYTHING = (
    "-mavx2 -msse4.2 -maes -mbmi -mbmi2 -mfma -mlzcnt -mf16c -mpclmul -mmovbe -mrdrnd -mrdseed"
).split()

QEMU_ALL = "-O0 -g0 -w -static -fno-strict-aliasing -fno-pie -no-pie".split()
QEMU_OPTIONS: Mapping[str, str] = {
    "test-i386-sse-exceptions": "-msse4.1 -mfpmath=sse", "test-i386-pcmpistri": "-msse4.2",
    "test-i386-bmi2": "-O2 -fwrapv", "test-i386-adcox": "-O2", "test-aes": "-O -msse2 -maes",
    "test-mmx": "-masm=intel -O", "test-avx": "-mavx -masm=intel -O", "adox": "-O2",
    "sha512-sse": "-msse4.1 -O3", "hello-i386": "-ffreestanding -fno-stack-protector -nostdlib",
}  # fmt: skip
QEMU_64 = (
    "test-i386", "test-i386-adcox", "test-i386-bmi2", "test-i386-ssse3", "test-avx", "test-mmx",
    "test-aes", "test-flags",
)  # fmt: skip
"""Sources of i386 of which there are programs of 64 bits."""
ABSENT = (
    *("qemu*-test-3dnow", "valgrind*-fma4", "valgrind*-tm1", "valgrind*-mpx"),
    *("qemu*-linux-test", "qemu32-test-flags", "qemu64-vsyscall", "valgrind*-allexec"),
    *("valgrind*-amd64locked", "valgrind*-x86locked", "valgrind*-fb_test_amd64"),
    "qemu*-test-i386-fprem",
)  # fmt: skip
"""What needs 3DNow!, FMA4, TSX or MPX; a network, 64 bits, a kernel with vsyscalls, or is about the
tool; and what runs for minutes where it is interpreted."""

VALGRIND_ALL = "-O1 -w -static -fno-pie -no-pie -fcommon -DVGO_linux=1".split()
MACHINES: Mapping[int, tuple[str, str]] = {64: ("amd64", "-m64"), 32: ("x86", "-m32")}

LATITUDE = Latitude(
    free=tuple(
        f"{suite}{bits}-{name}"
        for bits in MACHINES
        for suite, name in (
            ("qemu", "signals"), ("qemu", "test-mmap"), ("valgrind", "cpuid_c"),
            ("valgrind", "avx-vmovq"),
        )
    ),
    unordered=tuple(f"qemu{bits}-testthread" for bits in MACHINES),
)  # fmt: skip
"""Programs that print what threads saw, addresses, the processor's kind, or a register that nobody
has set; and one whose threads print by turns that they are not told."""


def sources() -> tuple[Path, Path]:
    """QEMU's tests/tcg, and Valgrind's package as far as it is needed."""
    return qemu_sources(), fetch_source("valgrind", VALGRIND_SUITE, PARTS)


def _compile(made: Path, *words: object) -> Path | None:
    """Compile, unless that was done before; None if the compiler does not take it."""
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        fresh = made.with_name(f"{made.name}.new")
        command = [COMPILER, *map(str, words), "-o", str(fresh)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            click.echo(f"{made.name} is not built: {done.stderr[-300:]}", err=True)
            return None
        fresh.replace(made)
    return made


def _generated(folder: Path, tests: Path) -> Path:
    """The headers that QEMU's scripts make of its table of instructions."""
    folder.mkdir(parents=True, exist_ok=True)
    scripts = tests / "i386"
    for script, header, groups in (
        ("test-mmx.py", "test-mmx.h", ("MMX", "SSE", "SSE2", "SSE3", "SSSE3")),
        ("test-avx.py", "test-avx.h", ()),
    ):
        if not (folder / header).exists():
            words = [str(scripts / script), str(scripts / "x86.csv"), str(folder / header), *groups]
            subprocess.run([sys.executable, *words], check=True)
    return folder


def _qemu(bits: int) -> Iterable[tuple[str, list[Path]]]:
    """QEMU's programs and their sources."""
    tests, helpers = qemu_sources(), qemu_sources() / "multiarch" / "libs" / "float_helpers.c"
    for folder in ("multiarch", "multiarch/linux", "x86_64" if bits == 64 else "i386"):
        for path in sorted((tests / folder).glob("*.c")):
            if bits == 64 or path.stem not in ("test-i386-ssse3", "test-avx", "test-mmx"):
                yield path.stem, [path] + [helpers] * path.stem.startswith("float_")
    yield "sha512-sse", [tests / "multiarch" / "sha512.c"]
    for name in QEMU_64 if bits == 64 else ():
        yield name, [tests / "i386" / f"{name}.c"]


def _qemu_programs(bits: int, pattern: str) -> dict[str, Path]:
    tests, home = qemu_sources(), suite_folder(QEMU_SUITE)
    include = [f"-I{tests / each}" for each in ("", "multiarch", "multiarch/libs", "i386")]
    include.append(f"-I{_generated(home / 'generated', tests)}")
    found = {}
    for stem, files in _qemu(bits):
        name = f"qemu{bits}-{stem}"
        if not _wanted(name, pattern):
            continue
        more = [*QEMU_OPTIONS.get(stem, "").split()]
        if stem == "test-i386" and bits == 32:
            files += [tests / "i386" / f"test-i386-{each}.S" for each in ("code16", "vm86")]
        words = (*QEMU_ALL, f"-m{bits}", *more, *include, *files, "-lm", "-lpthread")
        if (made := _compile(home / "x86" / name, *words)) is not None:
            found[name] = made
    return found


def _valgrind_programs(bits: int, pattern: str) -> dict[str, Path]:
    root, home = fetch_source("valgrind", VALGRIND_SUITE, PARTS), suite_folder(VALGRIND_SUITE)
    kind, width = MACHINES[bits]
    folder, made = root / TESTS / kind, home / "built"
    (made / kind).mkdir(parents=True, exist_ok=True)
    (made / "config.h").touch()  # of what is looked for there, nothing is missing
    include = [f"-I{each}" for each in (made, root, root / "include", folder, root / TESTS)]
    defines = [f"-DVGA_{kind}=1", f"-DVGP_{kind}_linux=1"]
    written = [_written(made / kind, path) for path in sorted(folder.glob("*.def"))]
    found = {}
    for path in (*sorted(folder.glob("*.c")), *written):
        name = f"valgrind{bits}-{path.stem}"
        if _wanted(name, pattern):
            files = [path] + [folder / "cpuid_s.S"] * (path.stem == "cpuid_c")
            words = (*VALGRIND_ALL, width, *EVERYTHING, *defines, *include, *files)
            if (program := _compile(made / name, *words, "-lm", "-lpthread")) is not None:
                found[name] = program
    return found


def _written(folder: Path, definitions: Path) -> Path:
    """A program that Valgrind's script writes from definitions of instructions."""
    made = folder / f"{definitions.stem}.c"
    script = definitions.with_name("gen_insn_test.pl")
    with definitions.open() as source, made.open("w") as sink:
        subprocess.run(["perl", str(script)], stdin=source, stdout=sink, check=True)
    return made


def _wanted(name: str, pattern: str) -> bool:
    return fnmatch(name, pattern) and not any(fnmatch(name, each) for each in ABSENT)


def programs(pattern: str = "*") -> dict[str, Path]:
    """The programs whose names match, built."""
    found: dict[str, Path] = {}
    for bits in (64, 32):
        found |= _qemu_programs(bits, pattern) | _valgrind_programs(bits, pattern)
    return found


@click.command()
@click.argument("pattern", default="*")
@click.option("--accel", type=click.Choice(list(ENGINES)), default="jit")
@click.option("--cpus", default=2, show_default=True)
def main(pattern: str, accel: str, cpus: int) -> None:
    """Run the programs that match PATTERN in a guest, and on the host."""
    raise SystemExit(compare_with_host(programs(pattern), GUEST, accel, cpus, LATITUDE))


if __name__ == "__main__":
    main()
