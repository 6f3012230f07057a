"""Messages of the package, which name Python arguments, rephrased with the options of a command."""

from __future__ import annotations

import re
import shlex

import click

# Not changed: calls such as gaussian(std=0.5), and quoted texts. Changed: name='text', name=0.5, name.
_KEPT = r"\w\([^()]*\)|(?<!\w)'[^']*'"
_VALUE = r"'[^']*'|[\w+-]+(?:\.[\w+-]+)*"


def in_options(message: str, command: click.Command | None) -> str:
    """Return the message with each argument that is an option of the command written as that option.

    >>> command = click.Command("train", params=[click.Option(["--batch-size"]), click.Option(["--resume/--anew"])])
    >>> in_options("batch_size=0 is too small, and resume=False is needed", command)
    '--batch-size 0 is too small, and --anew is needed'
    """
    options = {_argument(name): param for param in _options(command) for name in param.opts}
    if not options:
        return message

    def spelled(found: re.Match[str]) -> str:
        argument, value = found["argument"], found["value"]
        # Without a value, a word such as data may be plain text.
        if argument is None or (value is None and "_" not in argument):
            return found[0]
        option = options[argument]
        if option.is_flag and value in ("True", "False"):
            names = option.opts if value == "True" else option.secondary_opts
            return names[-1] if names else found[0]
        return " ".join([option.opts[-1], *([shlex.quote(value.strip("'"))] if value else [])])

    names = "|".join(map(re.escape, options))
    return re.sub(rf"{_KEPT}|(?<![\w./-])(?P<argument>{names})(?![\w/-])(?:=(?P<value>{_VALUE}|))?", spelled, message)


def _options(command: click.Command | None) -> list[click.Option]:
    return [] if command is None else [param for param in command.params if isinstance(param, click.Option)]


def _argument(option: str) -> str:
    return option.lstrip("-").replace("-", "_")
