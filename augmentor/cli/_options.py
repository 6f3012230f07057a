"""What the commands share: their common options, and how they say what they resolved."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def common(out: str | None, out_help: str, *, folder: bool = True) -> Callable[[F], F]:
    """``--seed``, ``--device`` and ``--out``; `out` is the default place, a folder or a file, or None for nowhere."""
    option = click.option("--out", type=click.Path(dir_okay=folder), default=out, help=out_help)
    return lambda command: seed_and_device(option(command))


def seed_and_device(command: F) -> F:
    """``--seed`` and ``--device``, for commands that write nothing. The command gets a device that can be used."""
    command = click.option(
        "--device", default="auto", callback=lambda ctx, option, name: resolve_device(name),
        help="cpu, cuda, cuda:1, or auto.",
    )(command)  # fmt: skip
    return click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, help="Decides everything random.")(
        command
    )


def data_options(command: Callable[..., None]) -> Callable[..., None]:
    """How the data argument is read. The command gets these options as `reading`, keywords of `load_source`."""

    @click.option(
        "--split", type=click.Choice(["train", "test"]), default="train",
        help="Part of mnist and cifar10 that the (real) data argument means.",
    )  # fmt: skip
    @click.option("--size", type=click.IntRange(8, 128), help="Crop and resize a folder's images to SIZE x SIZE.")
    @click.option("--skip-bad", is_flag=True, help="Leave unreadable image files out.")
    @functools.wraps(command)
    def reading(*, split: str, size: int | None, skip_bad: bool, **others: Any) -> None:
        command(reading={"split": split, "size": size, "skip_bad": skip_bad}, **others)

    return reading


def residual_option(command: F) -> F:
    """How samples are put together."""
    return click.option(
        "--residual", type=click.FloatRange(0, 1), default=0.0,
        help="How much of what the autoencoder cannot reproduce is put back: 1 keeps photographs sharp.",
    )(command)  # fmt: skip


def augment_options(command: F) -> F:
    """Which autoencoder, which policy, and how samples are put together."""
    policy = click.option("--policy", default="auto", help="Such as 'smote(k=3)' (augmentor info), or what suits.")
    autoencoder = click.option(
        "--autoencoder", default="auto",
        help="A pretrained name, a .safetensors file, diffusers:FOLDER_OR_HUB_NAME, or auto: the pretrained one that "
        "fits the images.",
    )  # fmt: skip
    return autoencoder(policy(residual_option(command)))


def resolve_device(name: str) -> str:
    """``auto`` => cuda where there is one; a device that is not there is refused."""
    import torch

    from ..exceptions import DeviceError

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros((), device=name).item()  # a device without memory, such as meta, raises too
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise DeviceError(f"device {name!r} cannot be used ({reason}); expected cpu, cuda or auto") from error
    return name


def resolve_autoencoder(name: str, dataset: Any, device: str = "cpu") -> Any:
    """The autoencoder of this name or path on the device; for ``auto`` the pretrained one that fits these images.

    An adapted one brings no latent statistics and gets them from these images.
    """
    from ..autoencoders import AdaptedAutoencoder, load_autoencoder
    from ..autoencoders.pretrained import fitting_autoencoder
    from ..transform import LatentAugment

    model = load_autoencoder(fitting_autoencoder(image_shape_of(dataset)) if name == "auto" else name).to(device)
    if isinstance(model, AdaptedAutoencoder) and not model.stats.fitted:
        LatentAugment(model).fit(dataset)
    return model


def image_shape_of(dataset: Any) -> tuple[int, int, int]:
    """(C,H,W) of a data set's images."""
    from .._internal.datasets import fetch

    channels, height, width = fetch(dataset, [0])[0].shape[1:]
    return channels, height, width


def say(**resolved: Any) -> None:
    """Print what a command resolved, a line each."""
    width = max(map(len, resolved))
    for name, value in resolved.items():
        click.echo(f"{name.replace('_', ' '):<{width}}  {value}")


def scores_text(scores: dict[str, Any]) -> str:
    """One line of metrics."""
    numbers = {k: v for k, v in scores.items() if isinstance(v, float) and math.isfinite(v)}
    return "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
