"""The command line, one file per command.

This package may import `tuning` and the layers below it.
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

# Section of the overview => command => its line there. A command is a function in the module of the same name.
_SECTIONS = {
    "First steps": {
        "demo": "Run all steps on the digits of scikit-learn and write a report (one to two minutes).",
        "info": "Show installed versions and names, or describe a weights file or folder.",
    },
    "Augment a classifier's training images, in this order": {
        "train-autoencoder": "Train an autoencoder on your images.",
        "preview": "Draw samples of each policy for some images.",
        "explore": "Show images, reconstructions and samples in a local web page with sliders.",
        "tune": "Find out which augmentation improves a classifier, by cross-validation.",
        "generate": "Write synthetic images to shards (HDF5 or tar files).",
        "verify": "Check all files of a shard folder against its manifest.",
    },
    "Use images without labels": {
        "pseudo-label": "Predict labels of unlabelled images from a few labelled ones.",
    },
    "Train a generative model": {
        "train-gan": "Train a GAN.",
        "train-prior": "Train a latent flow, for the policy denoise.",
        "evaluate": "Measure Frechet and kernel distance, precision and recall of generated images.",
    },
}
_COMMANDS = [name for section in _SECTIONS.values() for name in section]


class _LazyGroup(click.Group):
    """Imports a command when it is used, so that ``--help`` is fast."""

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
            raise UnknownNameError(f"unknown command {cmd_name!r}{did_you_mean(cmd_name, dict.fromkeys(_COMMANDS))}")
        module = cmd_name.replace("-", "_")
        return getattr(importlib.import_module(f".{module}", __name__), module)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, _COMMANDS))
        for title, commands in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:<{width}}", text) for name, text in commands.items()])


@click.group(
    cls=_LazyGroup,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True},
)
@click.version_option(__version__)
@click.pass_context
def app(ctx: click.Context) -> None:
    """Data augmentation in the latent space of an autoencoder.

    DATA is a folder of images or of class folders, the word digits (the data set of scikit-learn), mnist:ROOT,
    cifar10:ROOT, h5:FILE, an .npz file or a shard folder. `augmentor COMMAND --help` describes the options of a
    command.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(arguments: list[str] | None = None) -> None:
    """Run a command. Exit with 0, with 2 and one line on bad input, or with 130 when interrupted."""
    warnings.showwarning = _show_warning
    if (os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or "0") != "0":
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # only the first of several processes prints
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
    """Write a line to stderr, above progress bars if there are any."""
    if "tqdm" in sys.modules:
        sys.modules["tqdm"].tqdm.write(line, file=sys.stderr)
    else:
        click.echo(line, err=True)
