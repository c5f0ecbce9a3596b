"""The documents say what is: paths exist, examples run, commands take the options given."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

import bimetal
from bimetal.cli.program import program

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bench/*.md")],
)
FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")
CODE = re.compile(r"`([^`\n]+)`")
OURS = ("src/", "docs/", "tests/", "bench/", "tools/", ".ci/")


@dataclass(frozen=True)
class Fence:
    """A fenced example: where it is, what kind it is, what it says."""

    document: Path
    line: int
    info: str
    body: str

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


def fences(info: str) -> list[Fence]:
    found = []
    for document in DOCUMENTS:
        text = document.read_text()
        for match in FENCE.finditer(text):
            if match["info"].strip() == info:
                line = text.count("\n", 0, match.start()) + 1
                found.append(Fence(document, line, info, match["body"]))
    return found


def commands() -> Iterator[tuple[Fence, list[str]]]:
    """Each command line of the shell examples, without comments."""
    for fence in fences("sh"):
        for line in fence.body.splitlines():
            for words in split_at_operators(shlex.split(line, comments=True)):
                yield fence, words


def split_at_operators(words: list[str]) -> Iterator[list[str]]:
    command: list[str] = []
    for word in [*words, "&&"]:
        if word != "&&":
            command.append(word)
        elif command:
            yield command
            command = []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_named_exists(document: Path) -> None:
    text = document.read_text()
    prose = FENCE.sub("", text)
    missing = [
        link for link in LINK.findall(prose) if not (document.parent / link.strip()).exists()
    ]
    for code in CODE.findall(prose):
        for word in code.split():
            if word.startswith(OURS) and not (ROOT / word).exists():
                missing.append(word)
    assert not missing


@pytest.mark.parametrize("fence", fences("python"), ids=str)
def test_python_examples_run(fence: Fence, tmp_path: Path) -> None:
    run_python(fence, tmp_path, limit=60)


@pytest.mark.boot
@pytest.mark.parametrize("fence", fences("python boot"), ids=str)
def test_python_examples_that_boot_run(fence: Fence, tmp_path: Path) -> None:
    run_python(fence, tmp_path, limit=300)


def run_python(fence: Fence, folder: Path, limit: int) -> None:
    """Run an example as a program of its own, outside the tree."""
    path = os.pathsep.join([str(ROOT / "src"), *sys.path])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", fence.body],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_commands_of_examples_have_the_options_they_are_given() -> None:
    checked = 0
    for fence, words in commands():
        if Path(words[0]).name != "bimetal":
            continue
        name, *rest = words[1:]
        command = program.get_command(click.Context(program), name)
        assert command is not None, f"{fence}: there is no command {name!r}"
        with click.Context(command) as context:
            command.parse_args(context, rest)
        checked += 1
    assert checked


def test_console_examples_print_what_they_show() -> None:
    for fence in fences("console"):
        command, _, expected = fence.body.partition("\n")
        words = shlex.split(command.removeprefix("$ "))
        assert words[0] == "bimetal", f"{fence}: only our own commands are run"
        done = subprocess.run(
            [sys.executable, "-m", "bimetal", *words[1:]],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *sys.path])},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == expected, str(fence)


def test_examples_are_of_a_kind_that_is_checked() -> None:
    kinds = {"sh", "python", "python boot", "console", "text", "asm", "c"}
    for document in DOCUMENTS:
        for match in FENCE.finditer(document.read_text()):
            assert match["info"].strip() in kinds, f"{document}: ```{match['info']}"


def test_ci_runs_the_readmes_test_command() -> None:
    (command,) = (
        words
        for fence, words in commands()
        if fence.document.name == "README.md" and Path(words[0]).name == "pytest"
    )
    script = (ROOT / ".ci" / "run").read_text().replace('"$VENV/bin/pytest"', "pytest")
    assert shlex.join(["pytest", *command[1:]]) in script


def test_every_public_name_is_explained() -> None:
    explained = set(CODE.findall((ROOT / "docs" / "python.md").read_text()))
    assert set(bimetal.__all__) <= explained


def test_every_number_promised_names_the_command_that_shows_it() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (ROOT / "SPEC.md").read_text().splitlines()
        if line.startswith("|") and not line.startswith(("|---", "| promise"))
    ]
    assert rows
    for promise, command, seen in rows:
        assert promise
        assert CODE.fullmatch(command), f"{promise}: no command shows it"
        assert seen, f"{promise}: write what was seen, or 'pending'"
