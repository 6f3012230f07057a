"""``augmentor evaluate GENERATED REAL``"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ._options import common, data_options, image_shape_of, resolve_autoencoder, say, scores_text


@click.command()
@click.argument("generated")
@click.argument("real")
@data_options
@click.option(
    "--features",
    default="auto",
    help="An autoencoder (a pretrained name, a .safetensors file, the folder of a run, or auto), or inception if its "
    "weights are at hand.",
)
@click.option("--num-samples", type=click.IntRange(20), default=2000, help="Images of each at most.")
@click.option("--copies", is_flag=True, help="Look for copies among all real images; draw copies.html beside --out.")
@common("metrics.json", "The figures.", folder=False)
def evaluate(
    generated: str, real: str, reading: dict[str, Any], features: str, num_samples: int, copies: bool, seed: int,
    device: str, out: str,
) -> None:  # fmt: skip
    """FID, KID, precision and recall of GENERATED against REAL, beside real against real.

    GENERATED is a data argument, such as a shard folder, or the .safetensors file of a generator, or the folder of
    the run that trained it. REAL is a data argument. Figures of different features cannot be compared.
    """
    from .._internal.files import write_bytes, write_json
    from .._internal.weights import OF_GENERATOR, weights_file
    from ..exceptions import ShapeError
    from ..quality import AutoencoderFeatures, InceptionFeatures, find_copies
    from ..quality import evaluate as measure
    from ..views.copies import copies_html

    reals = _read(real, **reading)
    if generated.endswith(".safetensors") or weights_file(generated, OF_GENERATOR).is_file():
        fakes = _samples(generated, num_samples, seed)
    else:
        fakes = _read(generated, **{**reading, "split": "train"})
    if (ours := image_shape_of(fakes)) != (theirs := image_shape_of(reals)):
        raise ShapeError(
            f"{generated} has images {ours} and {real} has {theirs}; bring those of a folder to one size with --size"
        )
    if features == "inception":
        extractor: Any = InceptionFeatures()
    else:
        model, features = resolve_autoencoder(features, reals)
        extractor = AutoencoderFeatures(model)
    say(generated=f"{generated}: {min(len(fakes), num_samples)} images", features=features, seed=seed, device=device,
        real=f"{real}: {min(len(reals), num_samples)} images", out=out)  # fmt: skip
    fakes = _some(fakes, num_samples, seed)
    scores = measure(fakes, _some(reals, num_samples, seed), extractor, seed=seed, device=device)
    figures = {"generated": generated, "real": real, "features": features, "seed": seed, **scores}
    click.echo(f"generated     {scores_text(scores)}")
    click.echo(f"real to real  {scores_text(scores['floor'])}")  # type: ignore[arg-type]
    if copies:
        found = find_copies(fakes, reals, extractor, device=device)
        figures["copies"] = found.summary()
        page, title = Path(out).with_name("copies.html"), f"Copies: {generated} against {real}"
        write_bytes(page, copies_html(found, fakes, reals, title=title, seed=seed).encode())
        click.echo(f"copies        {found}")
        click.echo(f"wrote {page}")
    write_json(out, figures)
    click.echo(f"wrote {out}")


def _read(source: str, *, size: int | None, **reading: Any) -> Any:
    """A data set; `size` is for those of the two that can be brought to it."""
    from ..data import load_source
    from ..data.sources import takes_size

    return load_source(source, size=size if takes_size(source) else None, **reading)


def _samples(path: str, count: int, seed: int) -> Any:
    """Images (count,C,H,W) of the generator in this file, its classes in turn."""
    import torch

    from .._internal.random import torch_generator
    from ..gan import load_generator

    network = load_generator(path)
    noise = torch.randn(count, network.latent_dim, generator=torch_generator("cpu", seed, "evaluate"))
    labels = torch.arange(count) % network.num_classes if network.num_classes else None
    with torch.no_grad():
        parts = [
            network(z, None if labels is None else labels[256 * i :][:256]) for i, z in enumerate(noise.split(256))
        ]
    return torch.cat(parts)


def _some(images: Any, count: int, seed: int) -> Any:
    """A random part of a data set or tensor."""
    import numpy as np
    import torch

    from .._internal.datasets import fetch
    from .._internal.random import fold

    order = np.random.Generator(np.random.Philox(fold(seed, "evaluate"))).permutation(len(images))[:count]
    return images[torch.from_numpy(order)] if isinstance(images, torch.Tensor) else fetch(images, order.tolist())[0]
