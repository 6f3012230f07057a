"""Options that several commands share, and how their values are resolved."""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ._output import output_options

F = TypeVar("F", bound=Callable[..., Any])


class FilePath(click.Path):
    """`click.Path` that expands ``~``, which a shell does not do in ``--out=~/x``."""

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
            self.fail(f"got {value!r}; expected a time such as 600, 90s, 10m or 1.5h", param, ctx)
        return seconds


class _FractionOrAuto(click.FloatRange):
    """A number from 0 to 1, or ``auto``."""

    name = "number"

    def __init__(self) -> None:
        super().__init__(0, 1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == "auto" else super().convert(value, param, ctx)


def common(out: str | None, out_help: str, *, folder: bool = True) -> Callable[[F], F]:
    """Add ``--out`` and `shared_options`. out: default of ``--out``, a folder or a file; None writes nothing."""
    option = click.option("--out", type=FilePath(dir_okay=folder), default=out, help=out_help)
    return lambda command: shared_options(option(command))


def shared_options(command: F) -> F:
    """Add ``--seed``, ``--device``, ``--quiet`` and ``--json``. The command gets a device that is available."""
    command = click.option(
        "--device", default="auto", callback=lambda ctx, option, name: resolve_device(name),
        help="Device: cpu, cuda, cuda:1, mps or auto; auto is cuda if available, else cpu.",
    )(output_options(command))  # fmt: skip
    return click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, help="Seed of all random numbers.")(
        command
    )


def data_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--split`` and ``--size``. The command gets them as `reading`, keywords of `load_source`."""

    @click.option(
        "--split", type=click.Choice(["train", "test"]), default="train",
        help="Split of mnist:ROOT or cifar10:ROOT to read; in evaluate, of REAL only.",
    )  # fmt: skip
    @click.option(
        "--size",
        type=click.IntRange(8, 128),
        help="Side in pixels to which images of a folder are cropped and resized. Default: their own size.",
    )
    @functools.wraps(command)
    def reading(*, split: str, size: int | None, **others: Any) -> None:
        command(reading={"split": split, "size": size}, **others)

    return reading


def residual_option(command: F) -> F:
    """Add ``--residual``."""
    return click.option(
        "--residual", type=_FractionOrAuto(), default="auto",
        help="Fraction of the reconstruction error that is added back to each sample, 0 to 1; auto is 1 if the "
        "recorded verdict on the autoencoder is fair or poor, else 0.",
    )(command)  # fmt: skip


def augment_options(command: F) -> F:
    """Add ``--autoencoder``, ``--policy`` and ``--residual``."""
    return autoencoder_option()(policy_option(residual_option(command)))


def policy_option(command: F) -> F:
    """Add ``--policy``."""
    return click.option(
        "--policy", default="auto",
        help="Policy and its arguments, such as 'smote(k=3)'; augmentor info lists them. auto depends on the latents: "
        "'gaussian(std=0.5)' for vectors, 'smooth(std=0.25)' for feature maps.",
    )(command)  # fmt: skip


def autoencoder_option(*others: str) -> Callable[[F], F]:
    """Add ``--autoencoder``. others: sentences about further values."""
    return click.option(
        "--autoencoder", default="auto",
        help=" ".join([
            "Autoencoder: a pretrained name, a .safetensors file, the folder of a training run, "
            "diffusers:FOLDER_OR_HUB_NAME, or auto, the pretrained one that fits the images.", *others,
        ]),
    )  # fmt: skip


def resolve_device(name: str) -> str:
    """Return the device of this name; ``auto`` is cuda if available. Raises `DeviceError` if it is not available."""
    import torch

    from ..exceptions import DeviceError

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros((), device=name).item()  # a device without memory, such as meta, raises too
    except (RuntimeError, AssertionError) as error:  # with texts of up to 2000 characters, about torch itself
        here = ["cpu"] + [f"cuda:{n}" for n in range(torch.cuda.device_count())]
        here += ["mps"] if torch.backends.mps.is_available() else []
        raise DeviceError(f"device {name!r} is not available; expected {', '.join(here)} or auto") from error
    return name


def resolve_autoencoder(name: str, dataset: Any, device: str = "cpu") -> tuple[Any, str]:
    """Load the autoencoder of this name or path to the device => the autoencoder and its full name.

    ``auto`` is the pretrained one that fits these images. The latent statistics of an adapted autoencoder are fitted to
    these images.
    """
    from .._internal.datasets import some_images
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
    size = wanted[-1] if takes_shape((wanted[0], None, None), shape) else None  # a size does not change the channels
    folder = "" if size is None else f", or --size {size}, which crops and resizes the images of a folder"
    other = "use another one, such as auto" if shape[0] in (1, 3) else "train one on them: augmentor train-autoencoder"
    raise ShapeError(
        f"autoencoder {name} takes images ({', '.join('any' if n is None else str(n) for n in wanted)}), got {shape} "
        f"from the data; {other}{folder}"
    )


def image_shape_of(dataset: Any) -> tuple[int, int, int]:
    """Return the shape (C,H,W) of the first image of a data set."""
    from .._internal.datasets import fetch

    channels, height, width = fetch(dataset, [0])[0].shape[1:]
    return channels, height, width


def command_line(command: str, *arguments: str, reading: dict[str, Any] | None = None, **options: Any) -> str:
    """Return a shell command: ``augmentor COMMAND ARGUMENTS``, how data are read, and options.

    >>> command_line("preview", "my photos", reading={"split": "train", "size": 32}, autoencoder="runs/mine")
    "augmentor preview 'my photos' --size 32 --autoencoder runs/mine"
    """
    defaults = {"split": "train", "size": None}
    changed = {name: value for name, value in (reading or {}).items() if value != defaults[name]}
    words = ["augmentor", command, *arguments]
    for name, value in (changed | options).items():
        words += [f"--{name}", str(value)]
    return shlex.join(words)
