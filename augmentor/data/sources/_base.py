"""Base class and list of data sources."""

from __future__ import annotations

from typing import Any, ClassVar

SOURCES: list[Source] = []  # in the order in which they are tried


class Source:
    """Base of all data sources.

    forms: accepted data arguments, for messages. has_splits: whether there is a "train" and a "test" split. takes_size:
    whether images can be resized on reading.
    """

    forms: ClassVar[tuple[str, ...]]
    has_splits: ClassVar[bool] = False
    takes_size: ClassVar[bool] = False

    def names(self, text: str) -> bool:
        """Return whether the data argument `text` is of this source, even if the data are missing or damaged."""
        raise NotImplementedError

    def load(self, text: str, *, split: str, size: int | None) -> Any:
        """Return the data set; arguments as in `load_source`. Raises `DataError` if it cannot be read."""
        raise NotImplementedError


def register_source(kind: type[Source]) -> type[Source]:
    """Add a source to the end of `SOURCES`. Use as class decorator."""
    SOURCES.append(kind())
    return kind
