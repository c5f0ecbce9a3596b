"""Build the page of `bimetal web` from its sources in ``web/``, with npm.

python -m tools.web
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["build", "main"]

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "web"

STEPS = (
    ("npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"),
    ("npm", "run", "--silent", "build"),
)


def build() -> None:
    """Build the page. Raises `OSError` without npm, and `CalledProcessError` if it cannot."""
    for step in STEPS:
        subprocess.run(step, cwd=SOURCES, check=True)


def main() -> None:
    """Build it, or say what is missing."""
    try:
        build()
    except FileNotFoundError:
        sys.exit("npm is not installed (Debian: apt-get install nodejs npm)")
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(error.cmd)} has failed")


if __name__ == "__main__":
    main()
