"""``augmentor preview DATA``"""

from __future__ import annotations

from typing import Any

import click

from ._options import common, data_options, residual_option, resolve_autoencoder, say
from ._verdict import verdict_on


@click.command()
@click.argument("data")
@data_options
@click.option(
    "--autoencoder", default="auto",
    help="A pretrained name, a .safetensors file, the folder of a run, diffusers:FOLDER_OR_HUB_NAME, or auto.",
)  # fmt: skip
@click.option(
    "--policy", "policies", multiple=True, help="Only these, each at its own strength; all of them otherwise."
)
@residual_option
@click.option("--images", "count", type=click.IntRange(1, 32), default=7, help="Originals to draw.")
@common("preview.png", "The picture.", folder=False)
def preview(
    data: str, reading: dict[str, Any], autoencoder: str, policies: tuple[str, ...], residual: float | str, count: int,
    seed: int, device: str, out: str,
) -> None:  # fmt: skip
    """Draw originals, reconstructions and what each policy makes of them, at three strengths."""
    from .._internal.files import write_bytes
    from ..data import load_source
    from ..transform import LatentAugment
    from ..views.preview import preview_png

    dataset = load_source(data, **reading)
    model, name = resolve_autoencoder(autoencoder, dataset, device)
    augment = LatentAugment(model, residual=residual)
    say(data=f"{data}: {len(dataset)} images", autoencoder=f"{name} ({model.name})",
        verdict=verdict_on(model, name, dataset, device), policies=policies or "all",
        residual=augment.residual, seed=seed, device=device, out=out)  # fmt: skip
    picture = preview_png(dataset, model, policies=policies or None, count=count, residual=augment.residual, seed=seed)
    write_bytes(out, picture)
    click.echo(f"wrote {out}")
