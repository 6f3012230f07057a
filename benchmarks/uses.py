"""Other uses of latent samples than replacing a fraction of the images in all steps; the search tries them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from augmentor import LatentAugment
from augmentor._internal.batches import BatchStream
from augmentor._internal.checks import to_unit_float
from augmentor._internal.each_image import transform_each
from augmentor._internal.random import seeded
from augmentor.data import ArrayDataset
from augmentor.training.classifier import Network, one_cycle

# first half, second half: samples in these steps only. smoothed labels: label smoothing of 0.2 for samples. weights:
# the loss of a sample is multiplied by its weight from the gate. consistency: samples have no labels; their predictions
# are trained towards those of their source images, which are in the same batch (as in UDA, Xie et al. 2020).
USES = ("first half", "second half", "smoothed labels", "weights", "consistency")
SMOOTHING = 0.2


def train_with_samples(
    network: Network,
    data: ArrayDataset,
    augment: LatentAugment,
    use: str,
    *,
    transform: Callable[[Any], Any] | None,
    steps: int,
    batch_size: int,
    lr: float,
    seed: int,
) -> nn.Module:
    """Return the trained network in eval mode.

    Half of each batch are latent samples in the steps in which the use has samples. transform: applied to all images,
    real and synthetic. The optimiser is that of `train_classifier`.
    """
    stream = BatchStream(data, np.arange(len(data)), batch_size, seed)
    with seeded(seed, "weights"):
        model = network(data.image_shape[0], len(data.classes)).to(memory_format=torch.channels_last).train()
    optimizer, schedule = one_cycle(model, lr, steps)
    for step in range(steps):
        with seeded(seed, "batch", step):
            rows = torch.from_numpy(stream.indices(step))
            absent = use == ("second half" if step < steps // 2 else "first half")
            loss = _loss(model, data, augment, use, rows, 0 if absent else batch_size // 2, step, transform)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def _loss(
    model: nn.Module,
    data: ArrayDataset,
    augment: LatentAugment,
    use: str,
    rows: torch.Tensor,
    count: int,
    step: int,
    transform: Callable[[Any], Any] | None,
) -> torch.Tensor:
    """Return the loss of a batch with `count` samples."""
    sources, kept = rows[:count], rows[:count] if use == "consistency" else rows[count:]
    images, labels = data.images[kept], data.targets[kept]
    if not count:
        return F.cross_entropy(model(_ready(images, transform)), labels)
    made, made_labels, weights = augment.synthesize(
        data.images[sources], data.targets[sources], indices=sources, draw_index=step, return_weights=True
    )
    of_real, of_made = model(_ready(torch.cat([images, made]), transform)).split([len(kept), count])
    if use == "consistency":
        wanted = of_real.detach().softmax(1)
        return F.cross_entropy(of_real, labels) + F.kl_div(of_made.log_softmax(1), wanted, reduction="batchmean")
    smoothing = SMOOTHING if use == "smoothed labels" else 0.0
    of_samples = weights * F.cross_entropy(of_made, made_labels, label_smoothing=smoothing, reduction="none")
    return (F.cross_entropy(of_real, labels, reduction="sum") + of_samples.sum()) / (len(kept) + weights.sum())


def _ready(images: torch.Tensor, transform: Callable[[Any], Any] | None) -> torch.Tensor:
    """Transform each image, and convert the batch to the input format of the network."""
    moved = images if transform is None else transform_each(transform, images)
    return to_unit_float(moved).contiguous(memory_format=torch.channels_last)
