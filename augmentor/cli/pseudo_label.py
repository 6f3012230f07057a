"""``augmentor pseudo-label LABELLED UNLABELLED``"""

from __future__ import annotations

import io
from typing import Any

import click

from ._options import command_line, common, data_options, image_shape_of, resolve_autoencoder
from ._output import finish, say, tell


@click.command()
@click.argument("labelled")
@click.argument("unlabelled")
@data_options
@click.option(
    "--encoder",
    default="auto",
    help="Encoder of the images: a pretrained autoencoder, a .safetensors file, the folder of a run, "
    "diffusers:FOLDER_OR_HUB_NAME, a feature extractor (smallnet, efficientnet-lite0, inception, dinov2-vit-s-14), or "
    "auto, the pretrained autoencoder that fits the images.",
)
@click.option(
    "--method", type=click.Choice(["label_spreading", "self_training"]), default="label_spreading",
    help="Method: label spreading over the graph of nearest neighbours, or self-training of a logistic regression.",
)  # fmt: skip
@click.option(
    "--share", type=click.FloatRange(0, 1, min_open=True), default=0.8,
    help="Fraction of UNLABELLED that gets a label, in the order of confidence.",
)  # fmt: skip
@click.option(
    "--min-accuracy", type=click.FloatRange(0, 1, max_open=True), default=0.8,
    help="Minimum accuracy of the labels, 0 to 1. Labels are rejected if the estimate is more than one standard error "
    "below it; 0 disables the check.",
)  # fmt: skip
@common("pseudo-labels.npz", "File (.npz) for the images of LABELLED and UNLABELLED and their labels.", folder=False)
def pseudo_label(
    labelled: str, unlabelled: str, reading: dict[str, Any], encoder: str, method: str, share: float,
    min_accuracy: float, seed: int, device: str, out: str,
) -> None:  # fmt: skip
    """Predict labels of the images of UNLABELLED from LABELLED, and write both to an .npz file.

    All other commands accept this file as DATA. Labels of UNLABELLED are not used. The accuracy of the labels is
    estimated on LABELLED by cross-validation.
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
    accuracy = "not known" if found.accuracy is None else f"about {100 * found.accuracy:.0f} %"
    tell(f"labels        for {len(found.rows)} of {len(others)} unlabelled images; estimated accuracy: {accuracy}")
    finish(
        f"{out}: {len(found)} images, the {len(known)} labelled ones first", command_line("tune", out),
        images=len(found), pseudo_labels=len(found.rows), estimated_accuracy=found.accuracy,
    )  # fmt: skip


def _encoder(name: str, images: Any, device: str) -> tuple[Any, str]:
    """Return the encoder of this name, and its description."""
    from ..quality import load_features
    from ..quality.extractors import EXTRACTORS

    if name in EXTRACTORS:
        return load_features(name), name
    model, name = resolve_autoencoder(name, images, device)
    return model, f"{name} ({model.name})"


def _npz(data: Any) -> bytes:
    """Return images (N,C,H,W), labels, classes, confidences and rows as the bytes of an .npz file."""
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
