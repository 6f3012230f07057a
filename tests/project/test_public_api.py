"""Names and parameters of everything public, against a committed listing: what breaks callers shows in a diff.

Run as a program it prints the listing: python tests/project/test_public_api.py > tests/project/public_api.txt
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MODULES = ["augmentor"] + [
    f"augmentor.{name}"
    for name in ("policies", "autoencoders", "latents", "quality", "data", "shards", "gan", "gan.methods",
                 "gan.augmentations", "training", "tuning", "integrations", "exceptions", "albumentations")
]  # fmt: skip
LISTING = Path(__file__).with_name("public_api.txt")


def lines() -> Iterator[str]:
    """One for each public name, and one for each public method of a class."""
    for module in MODULES:
        home = importlib.import_module(module)
        mine = [name for name, value in vars(home).items() if getattr(value, "__module__", None) == module]
        for name in sorted(getattr(home, "__all__", [name for name in mine if not name.startswith("_")])):
            value = getattr(home, name)
            if inspect.isclass(value):
                yield f"{module}.{name}{'' if issubclass(value, Exception) else parameters(value)}"
                yield from (f"{module}.{name}.{method}" for method in methods(value))
            else:
                yield f"{module}.{name}{parameters(value) if inspect.isfunction(value) else ''}"


def methods(owner: type) -> Iterator[str]:
    """The public methods and properties that a class itself defines."""
    for name, member in sorted(vars(owner).items()):
        function = getattr(member, "__func__", member)  # of a class method
        if name.startswith("_"):
            continue
        if inspect.isfunction(function):
            yield f"{name}{parameters(function)}"
        elif isinstance(member, property):
            yield name


def parameters(function: Callable[..., Any]) -> str:
    """``(a, b=1, *, c=2)``, without annotations; a default that is an object is shown as ``Ellipsis``."""
    signature = inspect.signature(function)
    bare = [
        p.replace(annotation=p.empty, default=p.default if p.default is p.empty or _is_plain(p.default) else ...)
        for p in signature.parameters.values()
        if p.name not in ("self", "cls")
    ]
    return str(signature.replace(parameters=bare, return_annotation=signature.empty))


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str, tuple))


def test_the_public_interface_is_the_one_that_was_decided():
    known, now = LISTING.read_text(encoding="utf-8").splitlines(), list(lines())
    gone = "\n  ".join(line for line in known if line not in now)
    new = "\n  ".join(line for line in now if line not in known)
    assert known == now, (
        f"gone or changed:\n  {gone}\nnew:\n  {new}\n"
        "If it was meant: python tests/project/test_public_api.py > tests/project/public_api.txt, and a line in CHANGELOG.md"
    )


def test_the_listing_would_notice_a_renamed_parameter():
    def before(a: int, *, ratio: float = 1.0) -> None: ...
    def after(a: int, *, share: float = 1.0) -> None: ...

    assert parameters(before) == "(a, *, ratio=1.0)"
    assert parameters(before) != parameters(after)


if __name__ == "__main__":
    print("\n".join(lines()))
