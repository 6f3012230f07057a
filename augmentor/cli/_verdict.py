"""Verdict on the autoencoder of a command: how well it reconstructs the images of the command."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ..quality import Verdict

F = TypeVar("F", bound=Callable[..., Any])


def anyway_option(command: F) -> F:
    """Add ``--anyway``, for commands that write decoded images."""
    return click.option(
        "--anyway", is_flag=True, help="Continue if the autoencoder reconstructs these images poorly. Default: stop."
    )(command)


def verdict_on(autoencoder: Any, name: str, dataset: Any, device: str = "cpu") -> Verdict:
    """Return the verdict on these images; for the data set of its training, on the images held out from training."""
    from .._internal.datasets import dataset_fingerprint
    from ..autoencoders.pretrained import training_data
    from ..quality import assess

    if autoencoder.verdict is not None and training_data(name) == dataset_fingerprint(dataset):
        return autoencoder.verdict
    return assess(autoencoder.to(device), dataset)


def stop_if_poor(verdict: Verdict, name: str, *, anyway: bool) -> None:
    """Raise `InputError` for the verdict poor, unless `anyway`."""
    from ..autoencoders.first_look import poor_message
    from ..exceptions import InputError
    from ..quality.verdict import POOR

    if verdict.word == POOR and not anyway:
        raise InputError(f"{poor_message(name, verdict)}; or add --anyway to continue")
