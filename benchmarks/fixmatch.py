"""FixMatch (Sohn et al. 2020): a classifier that trains on its own confident pseudo-labels of unlabelled images.

It is the control for the pseudo-labels of this package.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from augmentor._internal.batches import BatchStream
from augmentor._internal.checks import to_unit_float
from augmentor._internal.datasets import fetch
from augmentor._internal.random import seeded
from augmentor.data import ArrayDataset, PseudoLabelled, Transformed
from augmentor.training import mild_geometry
from augmentor.training.classifier import Network, one_cycle

# Labelled and unlabelled images per step, minimum probability of a pseudo-label, and decay of the weight average.
LABELLED, UNLABELLED, THRESHOLD, DECAY = 64, 192, 0.95, 0.99


def fixmatch(
    network: Network,
    labelled: ArrayDataset | PseudoLabelled,
    unlabelled: ArrayDataset,
    *,
    strong: Callable[[Any], Any],
    steps: int,
    lr: float = 2e-3,
    seed: int = 0,
) -> nn.Module:
    """Return the network with averaged weights, in eval mode.

    strong: augmentation of unlabelled images; the prediction under it is trained towards the label that the network
    gives under a mild augmentation. The optimiser is that of `train_classifier`.
    """
    weak = mild_geometry()
    known, mild, strongly = (Transformed(data, how) for data, how in
                             ((labelled, weak), (unlabelled, weak), (unlabelled, strong)))  # fmt: skip
    first, second = (BatchStream(data, np.arange(len(data)), size, seed)
                     for data, size in ((labelled, LABELLED), (unlabelled, UNLABELLED)))  # fmt: skip
    with seeded(seed, "weights"):
        model = network(unlabelled.image_shape[0], len(labelled.classes)).to(memory_format=torch.channels_last).train()
    average = copy.deepcopy(model).requires_grad_(False)
    optimizer, schedule = one_cycle(model, lr, steps)
    for step in range(steps):
        with seeded(seed, "batch", step):
            x, labels = fetch(known, first.indices(step).tolist())
            rows = second.indices(step).tolist()
            images = [to_unit_float(part) for part in (x, fetch(mild, rows)[0], fetch(strongly, rows)[0])]
            logits = model(torch.cat(images).contiguous(memory_format=torch.channels_last))
            mine, calm, changed = logits.split([len(part) for part in images])
            confidence, guess = calm.detach().softmax(1).max(1)
            sure = (confidence >= THRESHOLD).float()
            loss = F.cross_entropy(mine, labels) + (F.cross_entropy(changed, guess, reduction="none") * sure).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            for mean, new in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
                mean.lerp_(new, 1 - DECAY) if mean.is_floating_point() else mean.copy_(new)
    return average.eval()
