"""What the commands share: their common options, and how they say what they resolved."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class FilePath(click.Path):
    """`click.Path` with ``~`` expanded, which a shell leaves as it is in ``--out=~/x``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(os.path.expanduser(value), param, ctx)


class Seconds(click.ParamType):
    """``600``, ``90s``, ``10m`` or ``1.5h`` => seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        scale = {"s": 1, "m": 60, "h": 3600}.get(str(value)[-1:], 0)
        try:
            seconds = float(value[:-1]) * scale if scale else float(value)
        except ValueError:
            seconds = -1.0
        if not 0 < seconds < float("inf"):
            self.fail(f"{value!r} is no time; expected seconds, or such as 90s, 10m or 1.5h", param, ctx)
        return seconds


class _ShareOrAuto(click.FloatRange):
    """A number from 0 to 1, or ``auto``."""

    name = "number"

    def __init__(self) -> None:
        super().__init__(0, 1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == "auto" else super().convert(value, param, ctx)


def common(out: str | None, out_help: str, *, folder: bool = True) -> Callable[[F], F]:
    """``--seed``, ``--device`` and ``--out``; `out` is the default place, a folder or a file, or None for nowhere."""
    option = click.option("--out", type=FilePath(dir_okay=folder), default=out, help=out_help)
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
    @functools.wraps(command)
    def reading(*, split: str, size: int | None, **others: Any) -> None:
        command(reading={"split": split, "size": size}, **others)

    return reading


def residual_option(command: F) -> F:
    """How samples are put together."""
    return click.option(
        "--residual", type=_ShareOrAuto(), default="auto",
        help="How much of what the autoencoder cannot reproduce is put back, 0 to 1; auto is 0 for a good autoencoder "
        "and 1 for others.",
    )(command)  # fmt: skip


def augment_options(command: F) -> F:
    """Which autoencoder, which policy, and how samples are put together."""
    policy = click.option("--policy", default="auto", help="Such as 'smote(k=3)' (augmentor info), or what suits.")
    autoencoder = click.option(
        "--autoencoder", default="auto",
        help="A pretrained name, a .safetensors file or the folder of the run that trained it, "
        "diffusers:FOLDER_OR_HUB_NAME, or auto: the pretrained one that fits the images.",
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
    except (RuntimeError, AssertionError) as error:  # with texts of up to 2000 characters, about torch itself
        here = ["cpu"] + [f"cuda:{n}" for n in range(torch.cuda.device_count())]
        here += ["mps"] if torch.backends.mps.is_available() else []
        raise DeviceError(f"device {name!r} cannot be used here; expected {', '.join(here)} or auto") from error
    return name


def resolve_autoencoder(name: str, dataset: Any, device: str = "cpu") -> tuple[Any, str]:
    """The autoencoder of this name or path on the device, and its full name.

    ``auto`` is the pretrained one that fits these images. An adapted one brings no latent statistics and gets them from
    these images.
    """
    from ..autoencoders import AdaptedAutoencoder, load_autoencoder
    from ..autoencoders.pretrained import fitting_autoencoder, full_name
    from ..transform import LatentAugment

    name = fitting_autoencoder(some_images(dataset)) if name == "auto" else full_name(name)
    model = load_autoencoder(name).to(device)
    check_takes(model, name, dataset)
    if isinstance(model, AdaptedAutoencoder) and not model.stats.fitted:
        LatentAugment(model).fit(dataset)
    return model, name


def check_takes(autoencoder: Any, name: str, dataset: Any) -> None:
    """`ShapeError` unless the autoencoder takes images like those of the data set."""
    from .._internal.checks import takes_shape
    from ..exceptions import ShapeError

    wanted, shape = autoencoder.image_shape, image_shape_of(dataset)
    if takes_shape(wanted, shape):
        return
    size = wanted[-1] if takes_shape((wanted[0], None, None), shape) else None  # no size mends the channels
    folder = "" if size is None else f", or --size {size}, which crops and resizes the images of a folder"
    other = "name another one, such as auto" if shape[0] in (1, 3) else "train one on them: augmentor train-autoencoder"
    raise ShapeError(
        f"autoencoder {name} takes images ({', '.join('any' if n is None else str(n) for n in wanted)}), got {shape} "
        f"from the data; {other}{folder}"
    )


def some_images(dataset: Any) -> Any:
    """Images (B,C,H,W) from all over a data set, enough to choose an autoencoder by."""
    from .._internal.datasets import equal_steps, fetch

    return fetch(dataset, equal_steps(len(dataset), 64))[0]


def image_shape_of(dataset: Any) -> tuple[int, int, int]:
    """(C,H,W) of a data set's images."""
    from .._internal.datasets import fetch

    channels, height, width = fetch(dataset, [0])[0].shape[1:]
    return channels, height, width


def say(**resolved: Any) -> None:
    """Print what a command resolved, a line each."""
    width = max(map(len, resolved))
    for name, value in resolved.items():
        click.echo(f"{name.replace('_', ' '):<{width}}  {_said(value)}")


def _said(value: Any) -> str:
    """A value as people write it: yes, no, none, and lists with commas."""
    match value:
        case None | () | []:
            return "none"
        case bool():
            return "yes" if value else "no"
        case tuple() | list():
            return ", ".join(map(str, value))
    return str(value)


def scores_text(scores: dict[str, Any]) -> str:
    """One line of metrics."""
    numbers = {k: v for k, v in scores.items() if isinstance(v, float) and math.isfinite(v)}
    return "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
