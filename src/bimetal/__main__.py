"""``python -m bimetal`` is ``bimetal``."""

from __future__ import annotations

from bimetal.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
