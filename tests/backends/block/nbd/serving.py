"""Servers for tests: ours in a thread, QEMU's in a process."""

from __future__ import annotations

import contextlib
import select
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bimetal.backends.block.nbd.serving import ServedImage

__all__ = ["MIB", "qemu_nbd", "served"]

MIB = 1 << 20


@contextlib.contextmanager
def served(path: Path, **options: Any) -> Iterator[str]:
    """Our server of the image at ``path``, at a Unix socket or, with a ``port``, at that; its
    address."""
    if "port" not in options:
        options.setdefault("socket", str(path.parent / "nbd.sock"))
    with ServedImage(str(path), **options) as image:
        thread = threading.Thread(target=image.run)
        thread.start()
        try:
            yield image.address
        finally:
            image.stop()
            thread.join()


@contextlib.contextmanager
def qemu_nbd(socket: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """QEMU's server at ``socket``; it is there when this comes back."""
    ready = socket.with_suffix(".pid")
    command = ["qemu-nbd", "-k", str(socket), "--persistent", "--pid-file", str(ready), *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        while not ready.exists():  # it is written when the server listens
            assert process.poll() is None, process.communicate()
            assert process.stderr is not None
            select.select([process.stderr], [], [], 0.01)
        yield process
    finally:
        process.kill()
        process.communicate()
