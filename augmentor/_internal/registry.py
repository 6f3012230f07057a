"""Registry of classes by name, and their string form ``"name(argument=1)"``.

`register`, `get`, `create` and `build` use a plain dictionary of classes. `Registry` contains such a dictionary, for
families to which users can add members. `kind` is the word for a member in messages ("policy").
"""

from __future__ import annotations

import ast
import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from ..exceptions import InputError, UnknownNameError

T = TypeVar("T")

# The name at the start of a string form; Python does not allow hyphens in names.
_NAME = re.compile(r"^[A-Za-z][\w-]*")


def register(kind: str, members: dict[str, type[Any]], name: str) -> Callable[[type], type]:
    """Return a class decorator that adds the class as `name` and sets its attribute `name`.

    Raises `ValueError` if the name is already used.
    """

    def add(member: type) -> type:
        if name in members:
            raise ValueError(
                f"the {kind} name {name!r} is already used by {members[name].__qualname__}; choose another one"
            )
        members[name] = member
        member.name = name  # type: ignore[attr-defined]
        return member

    return add


def get(kind: str, members: Mapping[str, type[T]], name: str) -> type[T]:
    """Return the class with this name (`-` equals `_`); raise `UnknownNameError`, with the closest name, if unknown.

    >>> get("number", {"whole": int, "real": float}, "real")
    <class 'float'>
    """
    name = {known.replace("-", "_"): known for known in members}.get(name.replace("-", "_"), name)
    if name not in members:
        raise UnknownNameError(f"unknown {kind} {name!r}{did_you_mean(name, sorted(members))}")
    return members[name]


def create(kind: str, members: Mapping[str, type[T]], name: str, arguments: dict[str, Any]) -> T:
    """Return an instance of the class `name`; the keyword arguments are checked against its signature."""
    return _call(kind, get(kind, members, name), [], arguments, {})


def build(
    kind: str, members: Mapping[str, type[T]], spec: str, parts: Registry[Any] | None = None, /, **defaults: Any
) -> T:
    """Return the member that a string such as ``"gaussian(std=0.5)"`` describes; arguments may be members, too.

    parts: another family whose members can be arguments. defaults: arguments for the member and these parts, used if
    they accept them and the string does not contain them.
    """

    def evaluate(node: ast.expr, top: bool = False) -> Any:
        match node:
            case ast.Name():
                return evaluate(ast.Call(func=node, args=[], keywords=[]), top)
            case ast.Call(func=ast.Name(id=name)):
                is_part = parts is not None and name in parts.members
                of, family = (parts.kind, parts.members) if parts is not None and is_part else (kind, members)
                member = get(of, family, name)
                args = [evaluate(arg) for arg in node.args]
                kwargs = {str(keyword.arg): evaluate(keyword.value) for keyword in node.keywords}
                return _call(of, member, args, kwargs, defaults if top or is_part else {})
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return [evaluate(item) for item in items]
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, RecursionError) as error:
            raise InputError(
                f"cannot read {ast.unparse(node)!r} in {kind} {spec!r}: expected numbers, texts, lists or {kind} names"
            ) from error

    try:
        tree = ast.parse(_NAME.sub(lambda name: name[0].replace("-", "_"), spec.strip(), 1), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError, AttributeError) as error:
        raise InputError(f"cannot read {kind} {spec!r}: expected a name or name(argument=value)") from error
    if not isinstance(tree, (ast.Name, ast.Call)):
        raise InputError(f"cannot read {kind} {spec!r}: expected a name or name(argument=value)")
    return evaluate(tree, top=True)


def _call(kind: str, member: type[T], args: list[Any], kwargs: dict[str, Any], defaults: dict[str, Any]) -> T:
    signature = inspect.signature(member)
    called = f"{kind} {member.name!r}"  # type: ignore[attr-defined]
    known = [p.name for p in signature.parameters.values() if p.kind is not p.VAR_POSITIONAL]
    for name in kwargs:
        if name not in known:
            raise UnknownNameError(f"{called} has no argument {name!r}{did_you_mean(name, known)}")
    taken = known[: len(args)]
    kwargs = {k: v for k, v in defaults.items() if k in known and k not in taken} | kwargs
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise InputError(f"{called}: {error}; its arguments are {signature}") from error
    try:
        return member(*args, **kwargs)
    except TypeError as error:  # for example a string instead of a number
        message = f"cannot create {called} from {args or ''}{kwargs}: {error}; its arguments are {signature}"
        raise InputError(message) from error


class Registry(Generic[T]):
    """Members of a family that users can extend, by name.

    parts: another family whose members can be arguments in string forms.

    >>> fruits: Registry[object] = Registry("fruit")
    >>> @fruits.register("apple")
    ... class Apple:
    ...     def __init__(self, weight: float = 1.0):
    ...         self.weight = weight
    >>> fruits.build("apple(weight=2)").weight
    2
    """

    def __init__(self, kind: str, parts: Registry[Any] | None = None):
        self.kind, self.parts = kind, parts
        self.members: dict[str, type[T]] = {}

    def register(self, name: str) -> Callable[[type], type]:
        """Return a class decorator that adds the class as `name`; see `register`."""
        return register(self.kind, self.members, name)

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return sorted(self.members)

    def get(self, name: str) -> type[T]:
        """Return the class with this name; see `get`."""
        return get(self.kind, self.members, name)

    def create(self, name: str, arguments: dict[str, Any]) -> T:
        """Return an instance of the class `name` with these keyword arguments; see `create`."""
        return create(self.kind, self.members, name, arguments)

    def build(self, spec: str, /, **defaults: Any) -> T:
        """Return the member that a string such as ``"gaussian(std=0.5)"`` describes; see `build`."""
        return build(self.kind, self.members, spec, self.parts, **defaults)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` and the list of known names."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    guess = f"; did you mean {near[0]!r}?" if near else ";"
    return f"{guess} known: {', '.join(known) or 'none'}"


def arguments_of(member: object) -> dict[str, Any]:
    """Return the constructor arguments of a member, read from the attributes with the same names."""
    return {name: getattr(member, name) for name in inspect.signature(type(member)).parameters}


def describe(member: object, *, brief: bool = False) -> str:
    """Return the string form of a member, from which `Registry.build` creates an equal member.

    brief: omit arguments with their default value, except floats (such as strengths).
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
