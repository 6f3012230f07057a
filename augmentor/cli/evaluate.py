"""``augmentor evaluate GENERATED REAL``"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ._options import command_line, common, data_options, image_shape_of, resolve_autoencoder
from ._output import finish, say, scores_text, tell
from ._verdict import verdict_on


@click.command()
@click.argument("generated")
@click.argument("real")
@data_options
@click.option(
    "--features",
    default="auto",
    help="Feature extractor: smallnet; efficientnet-lite0, with the extra 'photographs'; inception or dinov2-vit-s-14, "
    "whose weights have to be downloaded before; an autoencoder (a pretrained name, a .safetensors file or the folder "
    "of a run), which underestimates the distance of images that it decoded; or auto: efficientnet-lite0 "
    "for RGB images of at least 64 pixels per side if it is installed, else smallnet.",
)
@click.option(
    "--num-samples", type=click.IntRange(20), default=2000, help="Maximum number of images of GENERATED and of REAL."
)
@click.option(
    "--copies",
    is_flag=True,
    help="Search the generated images for copies of real images, and write copies.html to the folder of --out.",
)
@common("metrics.json", "File for the scores.", folder=False)
def evaluate(
    generated: str, real: str, reading: dict[str, Any], features: str, num_samples: int, copies: bool, seed: int,
    device: str, out: str,
) -> None:  # fmt: skip
    """Measure the distance, precision and recall of GENERATED against REAL, and of real against real images.

    GENERATED is data, such as a shard folder, or a generator: the name of a pretrained one, its .safetensors file, or
    the folder of the run that trained it. REAL is data. Scores on different features are not comparable, so their names
    contain the features: fd-smallnet is a Frechet distance, kd-smallnet a kernel distance. With inception they are FID
    and KID. fjd is a Frechet distance of features and labels together, if both have labels.
    """
    from .._internal.datasets import class_names_of
    from .._internal.files import write_bytes, write_json
    from .._internal.weights import OF_GENERATOR, weights_file
    from ..exceptions import ShapeError
    from ..gan import list_generators
    from ..quality import evaluate as measure
    from ..quality import find_copies, named_scores
    from ..views.copies import copies_html

    reals = _read(real, **reading)
    in_folder = Path(generated).expanduser().is_dir() and weights_file(generated, OF_GENERATOR).is_file()
    if generated in list_generators() or generated.endswith(".safetensors") or in_folder:
        fakes = _samples(generated, num_samples, seed)
    else:
        fakes = _read(generated, **{**reading, "split": "train"})
    if (ours := image_shape_of(fakes)) != (theirs := image_shape_of(reals)):
        raise ShapeError(
            f"got images {ours} in {generated} and {theirs} in {real}; expected one shape: resize the images of a "
            "folder with --size, and convert all images to the same number of channels"
        )
    extractor, features, verdict = _extractor(features, reals, device)
    say(generated=f"{generated}: {min(len(fakes), num_samples)} images", features=features, seed=seed, device=device,
        real=f"{real}: {min(len(reals), num_samples)} images", out=out, **verdict)  # fmt: skip
    if extractor.name == "autoencoder":
        tell(
            "features of an autoencoder underestimate the distance of images that it decoded; --features auto does not"
        )
    names = class_names_of(fakes), class_names_of(reals)
    (fakes, made), (some, known) = _some(fakes, num_samples, seed), _some(reals, num_samples, seed)
    labels = _comparable(made, known, *names)
    scores = measure(fakes, some, extractor, labels=labels, seed=seed, device=device)
    floor = named_scores(scores.pop("floor"), extractor.name)
    scores = named_scores(scores, extractor.name)
    figures = {"generated": generated, "real": real, "features": features, "seed": seed, **scores, "floor": floor}
    tell(f"generated     {scores_text(scores)}")
    tell(f"real to real  {scores_text(floor)}")
    tell(f"verdict       {_verdict(scores['alarm'])}")
    wrote = [out]
    if copies:
        found = find_copies(fakes, reals, extractor, device=device)
        figures["copies"] = found.summary()
        page, title = Path(out).with_name("copies.html"), f"Copies: {generated} against {real}"
        write_bytes(page, copies_html(found, fakes, reals, title=title, seed=seed).encode())
        tell(f"copies        {found}")
        wrote.append(str(page))
    write_json(out, figures)
    again = command_line("tune", real, reading=reading)
    if not copies:
        again = f"{command_line('evaluate', generated, real, reading=reading)} --copies"
    finish(" and ".join(wrote), again, **figures)


def _extractor(name: str, reals: Any, device: str) -> tuple[Any, str, dict[str, Any]]:
    """Return the extractor of this name, its description, and the verdict if it is an autoencoder."""
    from ..quality import AutoencoderFeatures, independent_features, load_features
    from ..quality.extractors import EXTRACTORS

    if name == "auto":
        extractor = independent_features(image_shape_of(reals))
        return extractor, extractor.name, {}
    if name in EXTRACTORS:
        return load_features(name), name, {}
    model, name = resolve_autoencoder(name, reals)
    verdict = {"verdict": verdict_on(model, name, reals, device)}
    return AutoencoderFeatures(model), f"{name} ({model.name})", verdict


def _verdict(alarm: list[str]) -> str:
    return f"differs: {'; '.join(alarm)}" if alarm else "no large difference from real images"


def _read(source: str, *, size: int | None, **reading: Any) -> Any:
    """Read a data set; `size` is used for folders of images only."""
    from ..data import load_source
    from ..data.sources import takes_size

    return load_source(source, size=size if takes_size(source) else None, **reading)


def _samples(path: str, count: int, seed: int) -> Any:
    """Return a data set of `count` images of the generator in this file, with labels if it is conditional."""
    import torch
    from torch.utils.data import TensorDataset

    from .._internal.random import torch_generator
    from ..gan import load_generator

    network = load_generator(path)
    noise = torch.randn(count, network.latent_dim, generator=torch_generator("cpu", seed, "evaluate"))
    labels = torch.arange(count) % network.num_classes if network.num_classes else None
    with torch.no_grad():
        parts = [
            network(z, None if labels is None else labels[256 * i :][:256]) for i, z in enumerate(noise.split(256))
        ]
    images = torch.cat(parts)
    return images if labels is None else TensorDataset(images, labels)


def _some(images: Any, count: int, seed: int) -> Any:
    """Return images and labels (or None) of a random part of a data set or tensor."""
    import numpy as np

    from .._internal.datasets import fetch
    from .._internal.random import fold

    order = np.random.Generator(np.random.Philox(fold(seed, "evaluate"))).permutation(len(images))[:count]
    return fetch(images, order.tolist())


def _comparable(made: Any, known: Any, names: list[Any], real_names: list[Any]) -> tuple[Any, Any] | None:
    """Return labels of generated and real images, numbered alike; None if one of them has no labels.

    Folders number their classes in the order of their names, so a folder without some classes has other numbers.
    """
    import torch

    if not (_are_classes(made) and _are_classes(known)):
        return None
    if not names or not real_names or names == real_names:
        return made, known
    missing = [name for name in names if name not in real_names]
    if missing or int(made.max()) >= len(names):
        others = ", ".join(map(str, missing[:3])) or f"class number {int(made.max())}"
        tell(f"fjd is not measured: GENERATED has classes that REAL does not have, such as {others}")
        return None
    return torch.tensor([real_names.index(name) for name in names])[made], known


def _are_classes(labels: Any) -> bool:
    """Return whether these are class numbers, all known, of more than one class."""
    return labels is not None and labels.ndim == 1 and bool((labels >= 0).all()) and len(labels.unique()) > 1
