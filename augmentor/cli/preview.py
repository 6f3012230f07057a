"""``augmentor preview DATA``"""

from __future__ import annotations

from typing import Any

import click

from ._options import autoencoder_option, command_line, common, data_options, residual_option, resolve_autoencoder
from ._output import finish, say
from ._verdict import verdict_on


@click.command()
@click.argument("data")
@data_options
@autoencoder_option()
@click.option(
    "--policy", "policies", multiple=True,
    help="Policy to draw, at its own strength; can be repeated. Default: all policies except denoise, each at "
    "three strengths.",
)  # fmt: skip
@residual_option
@click.option("--images", "count", type=click.IntRange(1, 32), default=7, help="Number of images to draw.")
@common("preview.png", "File for the picture.", folder=False)
def preview(
    data: str, reading: dict[str, Any], autoencoder: str, policies: tuple[str, ...], residual: float | str, count: int,
    seed: int, device: str, out: str,
) -> None:  # fmt: skip
    """Draw originals, reconstructions and the samples that each policy makes of them, at three strengths."""
    from .._internal.files import write_bytes
    from ..data import load_source
    from ..transform import LatentAugment
    from ..views.preview import preview_png

    dataset = load_source(data, **reading)
    model, name = resolve_autoencoder(autoencoder, dataset, device)
    augment = LatentAugment(model, residual=residual)
    say(data=f"{data}: {len(dataset)} images", autoencoder=f"{name} ({model.name})",
        verdict=str(verdict_on(model, name, dataset, device)), policies=policies or "all",
        residual=augment.residual, seed=seed, device=device, out=out)  # fmt: skip
    picture = preview_png(dataset, model, policies=policies or None, count=count, residual=augment.residual, seed=seed)
    write_bytes(out, picture)
    finish(out, command_line("tune", data, reading=reading, autoencoder=name))
