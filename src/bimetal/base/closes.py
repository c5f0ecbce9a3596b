"""What is closed at the end of a ``with`` statement."""

from __future__ import annotations

from abc import abstractmethod
from types import TracebackType
from typing import Self

__all__ = ["Closes"]


class Closes:
    """A context manager that is itself, and is closed when it is left."""

    @abstractmethod
    def close(self) -> None:
        """Give back what it has. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.close()
