"""Options for folders of the host: by themselves (``-fsdev``), and with their device."""

from __future__ import annotations

from bimetal.control.emulator.grammar import Words, read_words, wrong
from bimetal.control.emulator.order import FolderAt, Order

__all__ = ["read_fsdev", "read_virtfs"]

SECURITY = {"mapped": "mapped-xattr", "mapped-xattr": "mapped-xattr", "none": "none"}
SECURITY["passthrough"] = "passthrough"


def read_fsdev(order: Order, option: str, value: str) -> None:
    """A folder, to which a device refers by its id."""
    words = read_words(option, value, "fsdriver")
    name = words.needed("id")
    order.folders[name] = _folder(words)
    words.finish()


def read_virtfs(order: Order, option: str, value: str) -> None:
    """A folder that the guest mounts by its tag."""
    words = read_words(option, value, "fsdriver")
    words.ignore("id")
    tag = words.needed("mount_tag")
    folder = _folder(words)
    words.finish()
    order.shares.append((tag, folder))


def _folder(words: Words) -> FolderAt:
    driver = words.needed("fsdriver")
    if driver != "local":
        raise wrong(words.option, f"{driver[:80]!r} is not there", "write local")
    said = words.text("security_model") or words.text("security-model", "none")
    security = SECURITY.get(said)
    if security is None:
        raise wrong(
            words.option, f"security_model={said[:80]} is not there", f"write {', '.join(SECURITY)}"
        )
    words.only("multidevs", "remap", "warn", "forbid")
    words.only("writeout", "", "immediate")
    return FolderAt(words.needed("path"), security, words.switch("readonly"))
