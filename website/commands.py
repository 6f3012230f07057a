"""The reference page of the command line, made of the help texts."""

from __future__ import annotations

import click

from augmentor.cli import app

WIDTH = 100


def page() -> str:
    """Return the page as Markdown: the overview, then a section per command."""
    group = click.Context(app, info_name="augmentor", terminal_width=WIDTH)
    sections = [
        "# Command line",
        "This page lists the options of each command, as `augmentor COMMAND --help` prints them.",
        _block(group),
    ]
    for name in app.list_commands(group):
        context = click.Context(app.get_command(group, name), info_name=f"augmentor {name}", terminal_width=WIDTH)
        sections += [f"## {name}", _block(context)]
    return "\n\n".join(sections) + "\n"


def _block(context: click.Context) -> str:
    return f"```text\n{context.get_help()}\n```"
