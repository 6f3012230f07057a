"""Names and parameters of everything public, against a committed listing: what breaks callers shows in a diff.

Run as a program it prints the listing: python tests/project/test_public_api.py > tests/project/public_api.txt
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Those that a user imports from.
MODULES = ["augmentor"] + [
    f"augmentor.{name}"
    for name in ("policies", "autoencoders", "latents", "quality", "data", "shards", "gan", "gan.methods",
                 "gan.augmentations", "denoisers", "training", "tuning", "integrations", "exceptions", "albumentations")
]  # fmt: skip
LISTING = Path(__file__).with_name("public_api.txt")


def lines() -> Iterator[str]:
    """One for each public name, with the first module that has it, and one for each public method of a class."""
    found: dict[str, Any] = {}
    for module in MODULES:
        home = importlib.import_module(module)
        mine = [name for name, value in vars(home).items() if getattr(value, "__module__", None) == module]
        for name in getattr(home, "__all__", mine):
            if not any(getattr(home, name) is value for value in found.values()):
                found[f"{module}.{name}"] = getattr(home, name)
    classes = {value for value in found.values() if inspect.isclass(value)}
    for place, value in sorted(found.items()):
        is_class = inspect.isclass(value)
        has_parameters = inspect.isfunction(value) or (is_class and not issubclass(value, Exception))
        yield place + (parameters(value) if has_parameters else "")
        yield from (f"{place}.{method}" for method in methods(value, classes)) if is_class else ()


def methods(owner: type, listed: set[type]) -> Iterator[str]:
    """The public methods and properties that a class of ours has, without those of its bases that are listed."""
    ours = [base for base in owner.__mro__ if base.__module__.startswith("augmentor")]
    said = {name for base in ours if base is not owner and base in listed for name in dir(base)}
    members = {name: member for base in reversed(ours) for name, member in vars(base).items()}
    for name, member in sorted(members.items()):
        function = getattr(member, "__func__", member)  # of a class method
        if name.startswith("_") or name in said:
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
    gone, new = ("\n  ".join(sorted({*these} - {*those})) for these, those in ((known, now), (now, known)))
    assert known == now, (
        f"gone or changed:\n  {gone}\nnew:\n  {new}\nIf it was meant, a line in CHANGELOG.md and:\n"
        f"python tests/project/{Path(__file__).name} > tests/project/{LISTING.name}"
    )


def test_the_listing_would_notice_a_renamed_parameter():
    def before(a: int, *, ratio: float = 1.0) -> None: ...
    def after(a: int, *, share: float = 1.0) -> None: ...

    assert parameters(before) == "(a, *, ratio=1.0)"
    assert parameters(before) != parameters(after)


if __name__ == "__main__":
    print(*lines(), sep="\n")
