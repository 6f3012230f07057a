"""The tree of errors is the one drawn in the module's docstring."""

from __future__ import annotations

import builtins
import inspect
import re

from augmentor import exceptions
from augmentor.exceptions import AugmentorError, AugmentorWarning

LINE = re.compile(r"^ {4}(?P<bars>[│├└─ ]*)(?P<name>[A-Z]\w+)(\((?P<also>\w+)\))?", re.MULTILINE)


def test_each_class_is_drawn_once_and_hangs_where_it_is_drawn():
    defined = {name: cls for name, cls in vars(exceptions).items() if inspect.isclass(cls)}
    drawn, path = [], []
    for match in LINE.finditer(exceptions.__doc__ or ""):
        depth, name = len(match["bars"]) // 4, match["name"]
        path = [*path[:depth], name]
        bases = {defined[parent] for parent in path[-2:-1]} | (
            {getattr(builtins, match["also"])} if match["also"] else set()
        )
        assert set(defined[name].__bases__) == (bases or {Exception}), name
        assert defined[name].__doc__
        drawn.append(name)
    assert sorted(drawn) == sorted(defined)


def test_one_except_clause_catches_all_errors():
    errors = [value for value in vars(exceptions).values() if inspect.isclass(value) and value is not AugmentorWarning]
    assert len(errors) > 10
    assert all(issubclass(cls, AugmentorError) for cls in errors)
    assert issubclass(AugmentorWarning, UserWarning)
