"""What is done before a wheel or a source archive is packed: the page is built, so that who
installs it needs no npm. A checkout that is installed to be worked in (``pip install -e``) goes
without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

__all__ = ["PageHook"]


class PageHook(BuildHookInterface[Any]):
    """Builds the page, unless it came with a source archive."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """See `BuildHookInterface`."""
        root = Path(self.root)
        from_archive = (root / "PKG-INFO").is_file()
        if version != "editable" and not from_archive:
            subprocess.run([sys.executable, "-m", "tools.web"], cwd=root, check=True)
