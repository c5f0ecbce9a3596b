"""Nothing but the page needs more than the package itself asks for: who has installed no extra
misses what that is for, and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import packages_distributions, requires

EXTRAS = ("fast", "install", "lz4", "screen", "web", "zstd")

IMPORT_ALL = """
import sys
from importlib import import_module
from pkgutil import iter_modules
import bimetal

sys.modules |= dict.fromkeys(sys.argv[1:])  # as if they were not installed


def visit(package):
    for module in iter_modules(package.__path__, f"{package.__name__}."):
        if module.name.endswith("__main__"):
            continue
        try:
            found = import_module(module.name)
        except ImportError as error:
            print(module.name, error)
        else:
            if module.ispkg:
                visit(found)


visit(bimetal)
"""


def packages_of_extras() -> list[str]:
    """The packages, as they are imported, that an extra of ours asks for."""
    wanted = {
        re.split(r"[^\w.-]", line)[0].lower()
        for line in requires("bimetal") or ()
        if any(f"extra == '{extra}'" in line.replace('"', "'") for extra in EXTRAS)
    }
    names = packages_distributions()
    return sorted(name for name, owners in names.items() if wanted & {*map(str.lower, owners)})


def test_all_but_the_page_can_be_imported_without_any_extra() -> None:
    absent = packages_of_extras()
    assert {"PIL", "isal", "lz4", "pycdlib", "starlette", "uvicorn", "zstandard"} <= {*absent}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *absent], capture_output=True, text=True, check=True
    )
    lost = [line.split()[0] for line in done.stdout.splitlines()]
    assert lost, "the page does need one"
    assert [name for name in lost if not name.startswith("bimetal.web.")] == [], done.stdout
