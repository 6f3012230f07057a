"""Python code, a command and a policy.json that reproduce a view."""

from __future__ import annotations

import json
import shlex

from .view import NEIGHBOURS, REACH, STEPS, View

_CODE = """\
import numpy as np
import torch
from torch.utils.data import {imported}

from augmentor import LatentAugment, QualityGate
from augmentor.data import load_source
from augmentor.latents import class_index

data = load_source({source})
selected = {selected}
gate = QualityGate(keep={keep}, action="{action}")
augment = LatentAugment({autoencoder!r}, {policy!r}, residual={residual}, gate=gate).fit({fitted})

# Originals, reconstructions, and {copies} samples per original; weight 1: passed the gate
rows = {rows}
images, labels = default_collate([data[row] for row in rows])
with torch.no_grad():
    rebuilt = augment.autoencoder(images)
samples, sample_labels, weights = augment.synthesize(
    torch.cat([images] * {copies}), torch.cat([labels] * {copies}),
    indices=rows * {copies}, draw_index=np.repeat(np.arange({copies}), {count}), seed={seed}, return_weights=True,
)
print(gate.counts)

# Real images nearest to one sample
autoencoder, stats = augment.autoencoder, augment.autoencoder.stats
with torch.no_grad():
    z = stats.standardise(autoencoder.encode(samples[{sample}][None]).mean).float()
distances, places = augment.reference.nearest(z, {neighbours})
by_class = class_index(data.targets[selected]).argsort(stable=True)  # order of the reference set
near_rows = selected[by_class[places[0]].numpy()].tolist()

# Traversal of one latent dimension (or channel) at a time, around one original
shifts = torch.linspace(-{reach}, {reach}, {steps})
traversal = []
with torch.no_grad():
    z = stats.standardise(autoencoder.encode(images[{original}][None]).mean).float()
    for dimension in {dimensions}:
        moved = z.repeat({steps}, *[1] * (z.ndim - 1))
        moved[:, dimension] += shifts.reshape(-1, *[1] * (z.ndim - 2))
        traversal.append(autoencoder.decode(stats.unstandardise(moved), tuple(images.shape[-2:])))
"""


def code(view: View) -> str:
    """Return Python code that makes all images of the view, their labels, weights and neighbours."""
    settings, whole = view.settings, view.selected == view.total
    chosen = f"np.sort(np.random.default_rng(0).choice(len(data), {view.selected}, replace=False))"
    return _CODE.format(
        imported="default_collate" if whole else "Subset, default_collate",
        source=_source(view),
        selected="np.arange(len(data))" if whole else chosen,
        fitted="data" if whole else "Subset(data, selected.tolist())",
        keep=settings.keep, action="redraw" if settings.redraw else "weigh",
        autoencoder=view.config["autoencoder"], policy=settings.policy, residual=settings.residual,
        rows=view.rows, count=len(view.rows), copies=settings.copies, seed=settings.seed,
        sample=settings.copy * len(view.rows) + settings.original, original=settings.original,
        neighbours=NEIGHBOURS, reach=REACH, steps=STEPS, dimensions=view.dimensions,
    )  # fmt: skip


def command(view: View) -> str:
    """Return the command that generates shards of such samples from all data."""
    settings = view.settings
    words = ["augmentor", "generate", settings.data]
    words += [] if settings.split == "train" else ["--split", settings.split]
    words += [] if settings.size is None else ["--size", str(settings.size)]
    words += ["--autoencoder", view.config["autoencoder"], "--policy", settings.policy]
    words += ["--residual", str(settings.residual)]
    words += ["--gate", str(settings.keep)] if settings.redraw else []
    return shlex.join([*words, "--seed", str(settings.seed), "--out", "runs/shards"])


def policy_json(view: View) -> str:
    """Return the JSON text that `LatentAugment.from_config` accepts."""
    return json.dumps(view.config, indent=2)


def _source(view: View) -> str:
    settings = view.settings
    arguments = [repr(settings.data)]
    arguments += [] if settings.split == "train" else [f"split={settings.split!r}"]
    arguments += [] if settings.size is None else [f"size={settings.size}"]
    return ", ".join(arguments)
