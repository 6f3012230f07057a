"""``augmentor pseudo-label LABELLED UNLABELLED``"""

from __future__ import annotations

import io
from typing import Any

import click

from ._options import common, data_options, image_shape_of, resolve_autoencoder, say


@click.command()
@click.argument("labelled")
@click.argument("unlabelled")
@data_options
@click.option(
    "--encoder",
    default="auto",
    help="What turns images into the vectors that are compared: a pretrained autoencoder, a .safetensors file, the "
    "folder of a run, diffusers:FOLDER_OR_HUB_NAME, a feature extractor (smallnet, efficientnet-lite0, inception, "
    "dinov2-vit-s-14), or auto: the pretrained autoencoder that fits the images.",
)
@click.option(
    "--method", type=click.Choice(["label_spreading", "self_training"]), default="label_spreading",
    help="Over the graph of neighbours, or of a logistic regression.",
)  # fmt: skip
@click.option(
    "--share", type=click.FloatRange(0, 1, min_open=True), default=0.8,
    help="The part of UNLABELLED that gets a label, the surest first.",
)  # fmt: skip
@click.option(
    "--min-accuracy", type=click.FloatRange(0, 1, max_open=True), default=0.8,
    help="The share of right labels, as estimated, below which nothing is written; 0 writes them all the same.",
)  # fmt: skip
@common("pseudo-labels.npz", "The images of both, with their labels.", folder=False)
def pseudo_label(
    labelled: str, unlabelled: str, reading: dict[str, Any], encoder: str, method: str, share: float,
    min_accuracy: float, seed: int, device: str, out: str,
) -> None:  # fmt: skip
    """Give labels to the images of UNLABELLED from those of LABELLED, and write both to an .npz file.

    Every other command takes this file as DATA. Labels that UNLABELLED may have are not looked at. How many of the
    labels are right is estimated on LABELLED, part of which is hidden in turn.
    """
    from .._internal.files import write_bytes
    from ..data import load_source
    from ..data import pseudo_label as labels_for
    from ..exceptions import InputError

    if not out.endswith(".npz"):
        raise InputError(f"got --out {out}; expected the name of an .npz file, such as {out}.npz")
    known, others = (load_source(each, **reading) for each in (labelled, unlabelled))
    model, encoder = _encoder(encoder, others, device)
    say(labelled=f"{labelled}: {len(known)} images {image_shape_of(known)}", unlabelled=f"{unlabelled}: {len(others)} "
        f"images {image_shape_of(others)}", encoder=encoder, method=method, share=share, min_accuracy=min_accuracy,
        seed=seed, device=device, out=out)  # fmt: skip
    found = labels_for(
        known, others, model, method=method, share=share, min_accuracy=min_accuracy, seed=seed, device=device
    )
    write_bytes(out, _npz(found))
    accuracy = "could not be estimated" if found.accuracy is None else f"about {100 * found.accuracy:.0f} % are right"
    click.echo(f"labels        {len(found.rows)} of {len(others)} unlabelled images got one; {accuracy}")
    click.echo(f"wrote {out}: {len(found)} images, the {len(known)} labelled ones first")


def _encoder(name: str, images: Any, device: str) -> tuple[Any, str]:
    """The encoder of this name, and a text that says which."""
    from ..quality import load_features
    from ..quality.extractors import EXTRACTORS

    if name in EXTRACTORS:
        return load_features(name), name
    model, name = resolve_autoencoder(name, images, device)
    return model, f"{name} ({model.name})"


def _npz(data: Any) -> bytes:
    """The images (N,C,H,W) and all that is known of them, as the bytes of a file."""
    import numpy as np

    from .._internal.datasets import fetch

    arrays = {
        "images": fetch(data, range(len(data)))[0].numpy(),
        "labels": data.targets.numpy(),
        "classes": np.asarray([str(name) for name in data.classes]),
        "confidences": data.confidences.numpy(),
        "rows": data.rows.numpy(),
    }
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()
