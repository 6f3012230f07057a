"""The tree of errors is the one drawn in the module's docstring."""

from __future__ import annotations

import builtins
import inspect
import re

import pytest

from augmentor import exceptions
from augmentor.exceptions import AugmentorError, AugmentorWarning

LINE = re.compile(r"^ {4}(?P<bars>[│├└─ ]*)(?P<name>[A-Z]\w+)(\((?P<also>\w+)\))?", re.MULTILINE)
DEFINED = {name: cls for name, cls in vars(exceptions).items() if inspect.isclass(cls)}


def drawn_tree() -> list[tuple[str, str | None, str | None]]:
    """(name, parent in the drawing, built-in class in brackets) for each line of the drawing."""
    rows, path = [], []
    for match in LINE.finditer(exceptions.__doc__ or ""):
        depth = len(match["bars"]) // 4
        path = [*path[:depth], match["name"]]
        rows.append((match["name"], path[-2] if depth else None, match["also"]))
    return rows


TREE = drawn_tree()


def test_the_drawing_shows_every_class_once_and_no_other():
    assert sorted(name for name, _, _ in TREE) == sorted(DEFINED)


@pytest.mark.parametrize(("name", "parent", "builtin"), TREE, ids=[row[0] for row in TREE])
def test_each_class_hangs_where_it_is_drawn(name, parent, builtin):
    bases = DEFINED[name].__bases__
    if parent is not None:
        assert DEFINED[parent] in bases
    if builtin is not None:
        assert getattr(builtins, builtin) in bases
    assert len(bases) == max(1, (parent is not None) + (builtin is not None))
    assert DEFINED[name].__doc__


def test_one_except_clause_catches_all_errors():
    errors = [cls for cls in DEFINED.values() if cls is not AugmentorWarning]
    assert len(errors) > 10
    assert all(issubclass(cls, AugmentorError) for cls in errors)
    assert issubclass(AugmentorWarning, UserWarning)
