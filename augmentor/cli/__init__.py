"""The command line: one file a command.

May import `tuning` and what is below it.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from typing import Any

import click

from .._internal.registry import did_you_mean
from .._internal.version import __version__
from ..exceptions import AugmentorError, UnknownNameError
from ._wording import in_options

# Name => its line in the overview. The command is the function of the same name in the module of the same name.
_COMMANDS = {
    "demo": "The whole product on scikit-learn's digits, with a report to look at.",
    "train-autoencoder": "Train an autoencoder on your images.",
    "preview": "Draw what each policy makes of some images.",
    "explore": "A local page: images, what a policy makes of them, what the gate says.",
    "pseudo-label": "Give labels to unlabelled images, from a few labelled ones.",
    "generate": "Write augmented images to HDF5 shards.",
    "train-prior": "Train a latent flow on your images, for the policy denoise.",
    "train-gan": "Train a GAN, with or without latent augmentation.",
    "evaluate": "FID, KID, precision and recall of generated images.",
    "tune": "Find out whether latent augmentation helps a classifier or a GAN, and which.",
    "verify": "Check every byte of a shard folder against its manifest.",
    "info": "What is installed, or what a weights file or shard folder holds.",
}


class _LazyGroup(click.Group):
    """Knows its commands by name and imports one when it is asked for, so that ``--help`` is quick."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AugmentorError as error:
            name = ctx.invoked_subcommand
            command = None if name is None else self.get_command(ctx, name)
            raise click.ClickException(in_options(str(error), command)) from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        if cmd_name not in _COMMANDS:
            raise UnknownNameError(f"unknown command {cmd_name!r}{did_you_mean(cmd_name, _COMMANDS)}")
        module = cmd_name.replace("-", "_")
        return getattr(importlib.import_module(f".{module}", __name__), module)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(
    cls=_LazyGroup,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True},
)
@click.version_option(__version__)
@click.pass_context
def app(ctx: click.Context) -> None:
    """Data augmentation in the latent space of an autoencoder."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(arguments: list[str] | None = None) -> None:
    """Run a command; exit 0, 2 with one line on bad input, or 130 when interrupted."""
    warnings.showwarning = _show_warning
    if (os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or "0") != "0":
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # of several processes the first one speaks
    try:
        app.main(arguments, prog_name="augmentor", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        _fail(error.format_message())
    except OSError as error:  # from input that cannot be read
        _fail(str(error))


def _fail(message: str) -> None:
    _write(f"error: {' '.join(message.split())}")
    sys.exit(2)


def _show_warning(message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
    ctx = click.get_current_context(silent=True)
    said = in_options(str(message), None if ctx is None else ctx.command)
    _write(f"warning: {' '.join(said.split())}")


def _write(line: str) -> None:
    """A line on stderr, above progress bars where there are any."""
    if "tqdm" in sys.modules:
        sys.modules["tqdm"].tqdm.write(line, file=sys.stderr)
    else:
        click.echo(line, err=True)
