"""Conversion of docstrings to Markdown: examples become code blocks, descriptions of arguments become lists."""

from __future__ import annotations

import inspect
import re
from typing import Any

import griffe

_ARGUMENT = re.compile(r"^(\*{0,2}[a-z_]\w*(?:, \*{0,2}[a-z_]\w*)*): ", re.MULTILINE)
_EXAMPLE = re.compile(r"^([ ]*)>>> .*(?:\n\1[^\n]*\S[^\n]*)*", re.MULTILINE)


class Markdown(griffe.Extension):
    """Extension of griffe that converts each docstring."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = markdown(inspect.cleandoc(obj.docstring.value), names_in(obj))


def names_in(obj: griffe.Object) -> set[str]:
    """Return the names that a docstring may describe: arguments and attributes of the object."""
    names = set(obj.members)
    if isinstance(obj, griffe.Function):
        names |= {parameter.name for parameter in obj.parameters}
    elif isinstance(obj, griffe.Class) and "__init__" in obj.members:
        names |= {parameter.name for parameter in obj.members["__init__"].parameters}
    return names


def markdown(text: str, names: set[str]) -> str:
    """Return the docstring `text` of an object with these `names` as Markdown.

    >>> print(markdown("Adds.\\n\\na: one number.\\n    Any.\\n\\n>>> add(1, 2)\\n3", {"a", "b"}))
    Adds.
    <BLANKLINE>
    <BLANKLINE>
    - `a`: one number.
        Any.
    <BLANKLINE>
    ```pycon
    >>> add(1, 2)
    3
    ```
    """

    def item(found: re.Match[str]) -> str:
        known = any(part.strip().lstrip("*") in names for part in found[1].split(","))
        return f"\n- `{found[1]}`: " if known else found[0]

    text = _ARGUMENT.sub(item, text)
    return _EXAMPLE.sub(lambda found: f"{found[1]}```pycon\n{found[0]}\n{found[1]}```", text)
