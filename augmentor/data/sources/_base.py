"""What a data source is: texts that name data, and how the data are loaded."""

from __future__ import annotations

from typing import Any, ClassVar

SOURCES: list[Source] = []  # in the order in which they are asked


class Source:
    """Base of all data sources.

    forms: the texts that name it, for messages. has_splits: whether there is a "train" and a "test" part. takes_size:
    whether images can be brought to one size when they are read.
    """

    forms: ClassVar[tuple[str, ...]]
    has_splits: ClassVar[bool] = False
    takes_size: ClassVar[bool] = False

    def names(self, text: str) -> bool:
        """Whether the data argument `text` is of this source; the data may be absent or damaged all the same."""
        raise NotImplementedError

    def load(self, text: str, *, split: str, size: int | None) -> Any:
        """The data set, with arguments as of `load_source`; `DataError` where it cannot be read."""
        raise NotImplementedError


def register_source(kind: type[Source]) -> type[Source]:
    """Class decorator: ask this source too, after those before it."""
    SOURCES.append(kind())
    return kind
