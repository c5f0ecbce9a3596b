"""The shape of the tree, held by a test: who may import whom, who owns what, how long is long."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

import bimetal

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "bimetal"

MAY_IMPORT = {
    "base": set[str](),
    "screen": {"base"},
    "seam": {"base"},
    "memory": {"base", "seam"},
    "ir": {"base"},
    "isa": {"base", "ir"},
    "codegen": {"base", "ir", "isa"},
    "accel": {"base", "seam", "memory", "ir", "isa", "codegen"},
    "backends": {"base", "screen"},
    "devices": {"base", "seam", "memory", "screen"},
    "firmware": {"base", "memory"},
    "snapshot": {"base", "memory"},
    "machine": {
        "base",
        "seam",
        "memory",
        "isa",
        "backends",
        "devices",
        "firmware",
        "accel",
        "snapshot",
        "screen",
    },
    "boards": {"base", "seam", "memory", "backends", "devices", "firmware", "machine"},
    "control": {"base", "backends", "images", "machine"},
    "catalogue": {"base"},
    "images": {"base", "backends"},
    "web": {"base", "backends", "control"},
    "cli": {"", "control", "images", "web"},
    "": {"cli"},
}
"""Each layer and the layers that it may import, besides itself; "" is the package's own front."""

OWNERS = {
    "time": {"base"},
    "datetime": {"base"},
    "logging": {"base", "cli"},
    "mmap": {"memory", "accel", "codegen"},
    "llvmlite": {"codegen"},
    "lxml": {"control"},
    "starlette": {"web"},
    "uvicorn": {"web"},
    "ctypes": {"accel", "base", "backends", "codegen", "memory"},
    "fcntl": {"accel", "backends", "catalogue", "codegen"},
    "threading": {"base", "machine", "accel", "codegen", "memory", "control", "cli"},
    "select": {"backends", "codegen"},
    "selectors": {"backends"},
    "socket": {"backends"},
    "termios": {"backends"},
    "tty": {"backends"},
    "subprocess": {"backends", "catalogue", "codegen"},
    "urllib": {"backends"},
    "argparse": set[str](),
    "click": {"cli"},
    "rich": {"cli"},
    "PIL": {"backends"},
}
"""Modules of others that only the layers named may import."""

FILE_LIMIT = 400
FUNCTION_LIMIT = 60
PUBLIC_LIMIT = 30

FRONT = SOURCE / "__init__.py"


@dataclass(frozen=True)
class Import:
    """One module imported by one line."""

    path: Path
    line: int
    module: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line} imports {self.module}"


def layer_of(module: str) -> str:
    """The layer of a dotted module of ours; "" for ``bimetal`` and ``bimetal.__main__``."""
    name = module.split(".")[1] if "." in module else ""
    return "" if name.startswith("__") else name


def module_of(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def is_module(dotted: str) -> bool:
    place = SOURCE.parent.joinpath(*dotted.split("."))
    return place.with_suffix(".py").is_file() or place.is_dir()


def absolute(node: ast.ImportFrom, path: Path) -> str:
    """The full name of the module that ``from ... import`` names, relative or not."""
    if node.level == 0:
        return node.module or ""
    package = list(path.relative_to(SOURCE.parent).parts[: -node.level])
    return ".".join(package + ([node.module] if node.module else []))


def imports_of(path: Path) -> Iterator[Import]:
    """Every import of a file, in functions and under TYPE_CHECKING too."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(path, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            module = absolute(node, path)
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                yield Import(path, node.lineno, inner if is_module(inner) else module)


def all_imports() -> list[Import]:
    return [found for path in sources() for found in imports_of(path)]


def test_every_layer_is_in_the_table() -> None:
    layers = {layer_of(module_of(path)) for path in sources()}
    assert layers <= MAY_IMPORT.keys()


def test_the_table_has_no_cycles() -> None:
    done: set[str] = set()
    left = dict(MAY_IMPORT)
    left["cli"] = left["cli"] - {""}  # the front imports cli lazily, cli imports the front
    while left:
        ready = {layer for layer, needs in left.items() if needs <= done}
        assert ready, f"cycle among {sorted(left)}"
        done |= ready
        for layer in ready:
            del left[layer]


def test_layers_import_only_downwards() -> None:
    wrong = [
        str(found)
        for found in all_imports()
        if found.module.split(".")[0] == "bimetal" and found.path != FRONT
        for mine, other in [(layer_of(module_of(found.path)), layer_of(found.module))]
        if other != mine and other not in MAY_IMPORT[mine]
    ]
    assert not wrong, "\n".join(wrong)


def test_what_has_owners_is_imported_by_them_only() -> None:
    wrong = [
        str(found)
        for found in all_imports()
        for top in [found.module.split(".")[0]]
        if top in OWNERS and layer_of(module_of(found.path)) not in OWNERS[top]
    ]
    assert not wrong, "\n".join(wrong)


def test_no_import_inside_a_function() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{inner.lineno}"
        for path in sources()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    ]
    assert not wrong, "\n".join(wrong)


def test_records_are_structs_but_for_those_of_commands_that_only_look() -> None:
    """To make a dataclass takes ten times as long: see "Records" in docs/tour.md."""
    code = """
import sys
from bimetal.cli import main
try:
    main(sys.argv[1:])
finally:
    print(*sys.modules)
"""
    looking: set[str] = set()
    for words in (["list", "--all"], ["guests"]):
        told = subprocess.check_output([sys.executable, "-c", code, *words], text=True)
        looking |= set(told.splitlines()[-1].split())
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in sources()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ClassDef)
        and any("dataclass" in ast.unparse(each) for each in node.decorator_list)
        if module_of(path) not in looking
    ]
    assert not wrong, "\n".join(wrong)


def test_files_and_functions_are_short() -> None:
    long_files = [
        f"{path.relative_to(ROOT)}: {lines} lines"
        for path in sources()
        if (lines := path.read_text().count("\n")) > FILE_LIMIT
    ]
    long_functions = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {length} lines"
        for path in sources()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LIMIT
    ]
    assert not long_files + long_functions, "\n".join(long_files + long_functions)


def public_names(tree: ast.Module) -> list[str] | None:
    """The literal value of ``__all__``, or None."""
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            names: list[str] = ast.literal_eval(value)
            return names
    return None


def bound_names(tree: ast.Module) -> set[str]:
    """What the top level of a file binds, also below ``if`` and ``try``."""
    names: set[str] = set()
    todo: list[ast.stmt] = list(tree.body)
    while todo:
        node = todo.pop()
        match node:
            case ast.FunctionDef() | ast.ClassDef() | ast.AsyncFunctionDef():
                names.add(node.name)
            case ast.Import() | ast.ImportFrom():
                names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
            case ast.If() | ast.Try() | ast.With() | ast.For():
                todo += node.body + getattr(node, "orelse", [])
            case ast.Assign() | ast.AnnAssign():
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names |= {
                    leaf.id
                    for target in targets
                    for leaf in ast.walk(target)
                    if isinstance(leaf, ast.Name)
                }
            case _ if type(node).__name__ == "TypeAlias":  # Python 3.12 on
                names.add(node.name.id)  # type: ignore[attr-defined]
    return names


def defines_something(tree: ast.Module) -> bool:
    return any(not isinstance(node, ast.Expr) for node in tree.body)


@pytest.mark.parametrize("path", sources(), ids=lambda path: module_of(path))
def test_public_names_are_declared(path: Path) -> None:
    tree = tree_of(path)
    if not defines_something(tree) or "insns" in path.parts:
        return  # a package marker; or descriptions, which are found by their decorator
    names = public_names(tree)
    assert names is not None, "the file has no __all__"
    assert names == sorted(set(names), key=names.index), "a name stands twice"
    unknown = set(names) - bound_names(tree)
    assert not unknown, f"__all__ names what is not there: {sorted(unknown)}"


def test_the_front_is_small_and_complete() -> None:
    names = public_names(tree_of(FRONT))
    assert names is not None
    assert len(names) <= PUBLIC_LIMIT
    for name in names:
        assert getattr(bimetal, name) is not None


@pytest.mark.parametrize("path", sources(), ids=lambda path: module_of(path))
def test_every_file_says_what_it_is(path: Path) -> None:
    tree = tree_of(path)
    assert not defines_something(tree) or ast.get_docstring(tree), "no docstring"


def test_no_test_has_a_way_of_its_own_to_miss_a_program() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{number} {line.strip()}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if path.name not in ("host.py", "test_host.py", "test_layers.py", "emulator.py")
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if "which(" in line or "importorskip" in line or ("skip" in line and "installed" in line)
    ]
    assert not wrong, "use tests.host:\n" + "\n".join(wrong)
