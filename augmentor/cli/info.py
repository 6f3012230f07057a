"""``augmentor info [TARGET]``"""

from __future__ import annotations

import json
from typing import Any

import click

from ._options import common
from ._output import show_json


@click.command()
@click.argument("target", required=False)
@common(None, "File to which the JSON is also written. Default: none.", folder=False)
def info(target: str | None, seed: int, device: str, out: str | None) -> None:
    """Print installed versions and names as JSON, or a description of TARGET.

    TARGET is a pretrained name, a weights file, a shard folder or the folder of a run.
    """
    from .._internal.files import write_json

    found = _installed(device) if target is None else _described(target)
    show_json(found)
    if out is not None:
        write_json(out, found)


def _installed(device: str) -> dict[str, Any]:
    import torch
    import torchvision

    from .._internal.version import __version__
    from ..autoencoders import autoencoders, list_autoencoders
    from ..autoencoders.pretrained import card
    from ..denoisers.prior import PRETRAINED_PRIORS
    from ..gan.augmentations import augmentations
    from ..gan.losses import LOSSES
    from ..gan.methods import methods
    from ..gan.networks import DISCRIMINATORS, GENERATORS
    from ..gan.pretrained import PRETRAINED_GENERATORS
    from ..policies import policies
    from ..shards.manifest import FORMATS

    return {
        "versions": {"augmentor": __version__, "torch": torch.__version__, "torchvision": torchvision.__version__},
        "device": device,
        "pretrained": {name: card(name)["summary"] for name in list_autoencoders()},
        **{
            f"pretrained {models.kind}s": {name: models.card(name)["summary"] for name in models.names()}
            for models in (PRETRAINED_GENERATORS, PRETRAINED_PRIORS)
        },
        "policies": {name: str(policies.get(name).example()) for name in policies.names()},
        "autoencoders": autoencoders.names(),
        "generators": sorted(GENERATORS),
        "discriminators": sorted(DISCRIMINATORS),
        "gan losses": sorted(LOSSES),
        "gan augmentations": augmentations.names(),
        "training methods": methods.names(),
        "shard formats": sorted(FORMATS),
    }


def _described(target: str) -> dict[str, Any]:
    from .._internal.files import absolute_path
    from .._internal.weights import OF_AUTOENCODER, read_header
    from ..autoencoders import list_autoencoders
    from ..autoencoders.pretrained import card
    from ..denoisers.prior import PRETRAINED_PRIORS
    from ..exceptions import DataError
    from ..gan.pretrained import PRETRAINED_GENERATORS
    from ..shards import read_manifest, read_partial

    path = absolute_path(target)
    if target in list_autoencoders():
        return card(target)
    for models in (PRETRAINED_GENERATORS, PRETRAINED_PRIORS):
        if target in models.names():
            return models.card(target)
    if path.suffix == ".safetensors":
        return read_header(path)
    if (path / "manifest.json").is_file():
        return read_manifest(path / "manifest.json").document()
    if (partial := read_partial(path)) is not None:
        return partial.document()
    if (path / "run.json").is_file():
        try:
            run = json.loads((path / "run.json").read_text())
        except ValueError as error:
            raise DataError(f"{path / 'run.json'} is not JSON: {error}") from error
        weights = path / OF_AUTOENCODER
        return run | ({"weights": read_header(weights)} if weights.is_file() else {})
    names = ", ".join([*list_autoencoders(), *PRETRAINED_GENERATORS.names(), *PRETRAINED_PRIORS.names()])
    raise DataError(
        f"{target!r} is neither a pretrained name ({names}), a .safetensors file, a shard folder nor the folder of a "
        "run"
    )
