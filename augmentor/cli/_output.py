"""Output of a command: its settings, its results and the next useful command.

Text by default, one JSON object with ``--json``, nothing with ``--quiet``. Warnings, errors and progress bars are
written to stderr; both options hide the progress bars.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

# Keys of `click.Context.meta`.
_FORM, _SETTINGS = "augmentor.form", "augmentor.settings"


def output_options(command: F) -> F:
    """Add ``--quiet`` and ``--json``."""
    for name, text in {
        "json": "Print settings and results as one JSON object, and no progress bars.",
        "quiet": "Print only warnings and errors, and no progress bars.",
    }.items():
        command = click.option(f"--{name}", is_flag=True, expose_value=False, callback=_choose, help=text)(command)
    return command


def say(**settings: Any) -> None:
    """Print the settings that a command works with, one per line."""
    meta = click.get_current_context().meta
    meta[_SETTINGS] = meta.get(_SETTINGS, {}) | settings
    width = max(map(len, settings))
    for name, value in settings.items():
        tell(f"{name.replace('_', ' '):<{width}}  {_text(value)}")


def tell(line: str) -> None:
    """Print a line for people."""
    if _FORM not in click.get_current_context().meta:
        click.echo(line)


def finish(wrote: str = "", next: str | None = None, **results: Any) -> None:
    """Print what was written, and the next useful command; with ``--json`` also settings and results.

    wrote: the paths, and how to use them.
    """
    meta = click.get_current_context().meta
    if wrote:
        tell(f"wrote {wrote}")
    if next is not None:
        tell(f"next: {next}")
    if meta.get(_FORM) == "json":
        show_json({"settings": meta.get(_SETTINGS, {}), **results, "next": next})


def show_json(document: dict[str, Any]) -> None:
    """Print a JSON object, unless ``--quiet`` is given."""
    if click.get_current_context().meta.get(_FORM) != "quiet":
        click.echo(json.dumps(document, indent=2, ensure_ascii=False, default=str))


def scores_text(scores: dict[str, Any]) -> str:
    """One line of metrics."""
    numbers = {k: v for k, v in scores.items() if isinstance(v, float) and math.isfinite(v)}
    return "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())


def _choose(ctx: click.Context, option: click.Parameter, chosen: bool) -> None:
    if not chosen:
        return
    if _FORM in ctx.meta:
        raise click.UsageError("got --quiet and --json; give one of them", ctx)
    from .._internal.progress import hidden

    ctx.meta[_FORM] = option.name
    ctx.with_resource(hidden())


def _text(value: Any) -> str:
    """Format a value: yes, no, none, and lists with commas."""
    match value:
        case None | () | []:
            return "none"
        case bool():
            return "yes" if value else "no"
        case tuple() | list():
            return ", ".join(map(str, value))
    return str(value)
