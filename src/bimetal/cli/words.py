"""Values of options that are a path and words behind commas: ``PATH,readonly,serial=A``."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from bimetal import BimetalError, ExitCode

__all__ = ["Form"]


class Form(Struct, frozen=True):
    """How the value of ``option`` is written: ``shown`` is what a person reads. ``switches`` may be
    ``=on`` or ``=off``, ``texts`` have a value. ``what`` says what it begins with."""

    option: str
    shown: str
    what: str
    switches: Sequence[str] = ()
    texts: Sequence[str] = ()

    def read(self, text: str) -> tuple[str, dict[str, str | bool]]:
        """The path and the words. A comma in the path is written twice. Raises `BimetalError`."""
        parts = text.replace(",,", "\0").split(",")
        path, *words = [part.replace("\0", ",") for part in parts]
        if not path or path.startswith("file="):
            raise self.refused(f"{self.option} {text} does not begin with {self.what}")
        options: dict[str, str | bool] = {}
        for word in words:
            name, equals, value = word.partition("=")
            if name in options:
                raise self.refused(f"{name!r} stands twice in {self.option} {text}")
            if name in self.switches and (not equals or value in ("on", "off")):
                options[name] = value != "off"
            elif name in self.texts and value:
                options[name] = value
            else:
                raise self.refused(f"{word!r} means nothing in {self.option} {text}")
        return path, options

    def refused(self, cause: str) -> BimetalError:
        """The error of a value that cannot be."""
        return BimetalError(
            cause,
            f"write {self.option} {self.shown}; a comma in the path is written twice",
            ExitCode.USAGE,
        )
