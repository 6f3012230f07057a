"""Sliders for the arguments of any policy, derived from its signature and its strengths."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...exceptions import InputError
from ...policies import LatentPolicy

# The maximum of a slider is this factor times the strongest setting of previews.
_BEYOND = 2


@dataclass(frozen=True)
class Control:
    """One slider or checkbox. path: the argument, such as ``policies.1.std``. kind: "float", "int" or "bool"."""

    path: str
    policy: str
    name: str
    kind: str
    value: float | int | bool
    low: float | int
    high: float | int


def controls(policy: LatentPolicy, path: str = "") -> list[Control]:
    """Return a control for each number and boolean of a policy and of the policies in it.

    >>> from augmentor.policies import get_policy
    >>> [(c.path, c.value, c.high) for c in controls(get_policy("compose(gaussian(std=0.3), smote)"))]
    [('policies.0.std', 0.3, 2.0), ('policies.1.k', 5, 10), ('policies.1.strength', 1.0, 2.0)]
    """
    found = []
    for name, value, default in _arguments(policy):
        if isinstance(value, LatentPolicy):
            found += controls(value, f"{path}{name}.")
        elif (kind := type(value if default is None else default)) in (float, int, bool):
            usual = [] if kind is bool else [getattr(strength, name, 0) for strength in type(policy).strengths()]
            beyond = [_BEYOND * strength for strength in usual if isinstance(strength, (int, float))]
            low, high = kind(kind is int), kind(max([value, *beyond]))
            found.append(Control(path + name, policy.name, name, kind.__name__, kind(value), low, high))
    return found


def adjusted(policy: LatentPolicy, values: Mapping[str, Any]) -> LatentPolicy:
    """Return the policy with new values of its controls, by path; raise `InputError` for an invalid path or value.

    >>> from augmentor.policies import get_policy
    >>> adjusted(get_policy("compose(gaussian(std=0.3), smote)"), {"policies.0.std": 1})
    compose(gaussian(std=1.0), smote(k=5, strength=1.0))
    """
    kinds = {control.path: type(control.value) for control in controls(policy)}
    for path, value in values.items():
        if path not in kinds or type(value) not in (kinds[path], int if kinds[path] is float else kinds[path]):
            known = ", ".join(f"{name} ({kind.__name__})" for name, kind in kinds.items()) or "no values"
            raise InputError(f"got {path}={value!r} for policy {policy}; expected {known}")
    return _rebuilt(policy, {path: kinds[path](value) for path, value in values.items()}, "")


def _rebuilt(policy: LatentPolicy, values: Mapping[str, Any], path: str) -> LatentPolicy:
    members, named = [], {}
    for name, value, _ in _arguments(policy):
        new = _rebuilt(value, values, f"{path}{name}.") if isinstance(value, LatentPolicy) else values.get(path + name)
        if "." in name:
            members.append(new)
        else:
            named[name] = value if new is None else new
    return type(policy)(*members, **named)


def _arguments(policy: LatentPolicy) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, value and default (or None) of each constructor argument; ``*policies`` become policies.0, ..."""
    for name, parameter in inspect.signature(type(policy)).parameters.items():
        value = getattr(policy, name)
        if parameter.kind is parameter.VAR_POSITIONAL:
            yield from ((f"{name}.{number}", item, None) for number, item in enumerate(value))
        else:
            yield name, value, None if parameter.default is parameter.empty else parameter.default
