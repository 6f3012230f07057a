"""Names for the members of a family: ``name -> class``, and the text form ``"name(argument=1)"``.

One `Registry` serves every family (policies, autoencoders, GAN networks and losses). A member registers itself where
it is defined; a second claim to a name is refused; a miss says what was probably meant.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from ..exceptions import InputError, UnknownNameError

T = TypeVar("T")

# The name that a text form begins with; Python reads no hyphens in names.
_NAME = re.compile(r"^[A-Za-z][\w-]*")


class Registry(Generic[T]):
    """The members of one family, by name.

    >>> fruits: Registry[object] = Registry("fruit")
    >>> @fruits.register("apple")
    ... class Apple:
    ...     def __init__(self, weight: float = 1.0):
    ...         self.weight = weight
    >>> fruits.build("apple(weight=2)").weight
    2
    """

    def __init__(self, kind: str):
        self.kind = kind
        self._members: dict[str, type[T]] = {}

    def register(self, name: str) -> Callable[[type], type]:
        """Class decorator: claim `name` for the class, which also gets it as its `name` attribute."""

        def claim(member: type) -> type:
            if name in self._members:
                raise ValueError(f"{self.kind} {name!r} is already {self._members[name].__qualname__}")
            self._members[name] = member
            member.name = name  # type: ignore[attr-defined]
            return member

        return claim

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._members)

    def get(self, name: str) -> type[T]:
        """The class called `name`, or `UnknownNameError` with the nearest name; a hyphen may stand as an underscore."""
        name = {known.replace("-", "_"): known for known in self._members}.get(name.replace("-", "_"), name)
        if name not in self._members:
            raise UnknownNameError(f"unknown {self.kind} {name!r}{did_you_mean(name, self.names())}")
        return self._members[name]

    def build(self, spec: str, **defaults: Any) -> T:
        """The member that a text such as ``"gaussian(std=0.5)"`` describes; arguments may be members too.

        defaults: arguments that the member gets if it takes them and the text does not give them.
        """
        try:
            tree = ast.parse(_NAME.sub(lambda name: name[0].replace("-", "_"), spec.strip(), 1), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError, AttributeError) as error:
            raise InputError(f"cannot read {self.kind} {spec!r}: expected a name or name(argument=value)") from error
        if not isinstance(tree, (ast.Name, ast.Call)):
            raise InputError(f"cannot read {self.kind} {spec!r}: expected a name or name(argument=value)")
        return self._evaluate(tree, spec, defaults)

    def create(self, name: str, arguments: dict[str, Any]) -> T:
        """The member called `name` with these keyword arguments, each checked against its signature."""
        return self._call(self.get(name), [], arguments, {})

    def _evaluate(self, node: ast.expr, spec: str, defaults: dict[str, Any]) -> Any:
        match node:
            case ast.Name(id=name):
                return self._call(self.get(name), [], {}, defaults)
            case ast.Call(func=ast.Name(id=name)):
                member = self.get(name)
                args = [self._evaluate(arg, spec, {}) for arg in node.args]
                kwargs = {str(keyword.arg): self._evaluate(keyword.value, spec, {}) for keyword in node.keywords}
                return self._call(member, args, kwargs, defaults)
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return [self._evaluate(item, spec, {}) for item in items]
            case _:
                try:
                    return ast.literal_eval(node)
                except (ValueError, TypeError, RecursionError) as error:
                    raise InputError(
                        f"cannot read {ast.unparse(node)!r} in {self.kind} {spec!r}: "
                        f"expected numbers, texts, lists or {self.kind} names"
                    ) from error

    def _call(self, member: type[T], args: list[Any], kwargs: dict[str, Any], defaults: dict[str, Any]) -> T:
        signature = inspect.signature(member)
        known = [p.name for p in signature.parameters.values() if p.kind is not p.VAR_POSITIONAL]
        for name in kwargs:
            if name not in known:
                raise UnknownNameError(
                    f"{self.kind} {member.name!r} has no argument {name!r}"  # type: ignore[attr-defined]
                    f"{did_you_mean(name, known)}"
                )
        taken = known[: len(args)]
        kwargs = {k: v for k, v in defaults.items() if k in known and k not in taken} | kwargs
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InputError(
                f"{self.kind} {member.name!r}: {error}; "  # type: ignore[attr-defined]
                f"its arguments are {signature}"
            ) from error
        try:
            return member(*args, **kwargs)
        except TypeError as error:  # a text where a number belongs, and the like
            raise InputError(
                f"cannot make {self.kind} {member.name!r} from {args or ''}{kwargs}: {error}; "  # type: ignore[attr-defined]
                f"its arguments are {signature}"
            ) from error


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` and the list of what there is."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    guess = f"; did you mean {near[0]!r}?" if near else ";"
    return f"{guess} known: {', '.join(known) or 'none'}"


def arguments_of(member: object) -> dict[str, Any]:
    """The constructor arguments of a member, read back from the attributes of the same names."""
    return {name: getattr(member, name) for name in inspect.signature(type(member)).parameters}


def describe(member: object, *, brief: bool = False) -> str:
    """The text form of a member; `Registry.build` turns it back into an equal one.

    brief: leave out arguments that have their default value, but for strengths and the like (floats).
    """
    parts = []
    for name, parameter in inspect.signature(type(member)).parameters.items():
        value = getattr(member, name)
        if parameter.kind is parameter.VAR_POSITIONAL:
            parts += [_text(item, brief) for item in value]
        elif not (brief and value == parameter.default and not isinstance(value, float)):
            parts.append(f"{name}={_text(value, brief)}")
    return f"{member.name}({', '.join(parts)})"  # type: ignore[attr-defined]


def _text(value: Any, brief: bool) -> str:
    if hasattr(value, "name") and not isinstance(value, str):
        return describe(value, brief=brief)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_text(item, brief) for item in value)}]"
    return repr(value)
