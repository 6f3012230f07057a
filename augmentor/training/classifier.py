"""The evaluation classifier, which measures augmentation in `tune` and in the benchmarks, and how it is trained."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from .._internal.batches import BatchStream
from .._internal.checks import to_unit_float
from .._internal.datasets import batches, fetch
from .._internal.random import seeded
from ..exceptions import BudgetError, DataError, InputError, TrainingError
from ..latents import class_index
from .recipes import BatchTransform

Network = Callable[[int, int], nn.Module]


def small_cnn(channels: int, num_classes: int) -> nn.Module:
    """Three convolutions with pooling, batch norm and ReLU, then a linear layer that sees roughly where things are.

    Images float (B, channels, H, W) of 8 pixels a side or more => logits (B, num_classes).

    >>> small_cnn(1, 10)(torch.rand(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    layers: list[nn.Module] = []
    for before, after in ((channels, 16), (16, 32), (32, 64)):
        pool = [nn.MaxPool2d(2)] if after < 64 else []  # before the norm, which then has a quarter of the work
        layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), *pool, nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(0.2), nn.Linear(64 * 16, num_classes)
    )


def train_classifier(
    network: Network,
    dataset: Any,
    *,
    num_classes: int,
    steps: int = 500,
    batch_size: int = 64,
    lr: float = 2e-3,
    mix: BatchTransform | None = None,
    prior: torch.Tensor | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    deadline: float | None = None,
) -> nn.Module:
    """AdamW under a one-cycle rate (Smith and Topin 2018), cross-entropy; returns the trained network in eval mode.

    network: called with the numbers of channels and of classes. dataset: map-style, items (image, label): images
    uint8 or float in [0, 1], labels class numbers or soft (K,); its `set_epoch`, where it has one, is called.
    steps, batch_size: each step takes `batch_size` samples, of epochs laid end to end; so however many samples a
    data set has, it gets the same number of steps of the same size. mix: of a batch of float images and labels, such
    as `v2.MixUp`. prior: for logit adjustment (Menon et al. 2021), frequencies of the classes, above 0, float (K,):
    their logarithms are added to the logits in the loss, so that predictions treat all classes alike. seed: decides
    weights, order, and whatever the data set and `mix` draw from torch's global generator, which is set aside and
    comes back. deadline: of `time.monotonic()`.

    Raises `BudgetError` at the deadline, `DataError` or `InputError` for labels that do not fit, `TrainingError`
    when the loss is not finite.

    >>> from augmentor.data import load_source
    >>> digits = load_source("digits")
    >>> model = train_classifier(small_cnn, digits, num_classes=10, steps=60)
    >>> accuracy(predict(model, digits), digits.targets) > 0.8
    True
    """
    if steps < 2 or batch_size < 1 or not lr > 0:
        raise InputError(f"steps is at least 2, batch_size at least 1 and lr positive; got {steps}, {batch_size}, {lr}")
    if len(dataset) == 0:
        raise DataError("got an empty data set to train on; expected at least one image")
    device = torch.device(device)
    stream = BatchStream(dataset, np.arange(len(dataset)), batch_size, seed)
    layout = torch.channels_last  # twice as fast, on processors too
    with seeded(seed, "weights"):
        images, _ = fetch(dataset, [0])
        model = network(images.shape[1], num_classes).to(device, memory_format=layout).train()  # type: ignore[call-overload]
    shift = 0.0 if prior is None else prior.to(device).log()
    optimizer, schedule = one_cycle(model, lr, steps)
    for step in range(steps):
        if deadline is not None and time.monotonic() > deadline:
            raise BudgetError(f"the time was up after {step} of {steps} steps of training; allow more")
        if hasattr(dataset, "set_epoch"):
            dataset.set_epoch(step * batch_size // len(dataset))
        with seeded(seed, "batch", step, device=device):  # random transforms in the data set, the mixing, dropout
            x, y = fetch(dataset, stream.indices(step).tolist())
            x, y = to_unit_float(x.to(device)), _checked(y, num_classes).to(device)
            if mix is not None:
                x, y = mix(x, y)
            loss = F.cross_entropy(model(x.contiguous(memory_format=layout)) + shift, y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    if not torch.isfinite(loss):
        raise TrainingError(f"the loss became {float(loss.detach())}; try a lower rate than lr={lr}")
    return model.eval()


def one_cycle(model: nn.Module, lr: float, steps: int) -> tuple[Optimizer, LRScheduler]:
    """AdamW, and a rate that rises to `lr` and falls again over so many steps (Smith and Topin 2018).

    >>> optimizer, schedule = one_cycle(small_cnn(1, 10), lr=2e-3, steps=100)
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=1e-3)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)


@torch.no_grad()
def predict(model: nn.Module, dataset: Any, device: torch.device | str = "cpu") -> torch.Tensor:
    """The likeliest class of each image of a map-style data set: int64 (N,), on the CPU."""
    model = model.to(device).eval()
    return torch.cat([model(to_unit_float(images.to(device))).argmax(1).cpu() for images, _ in batches(dataset, 512)])


def accuracy(predicted: torch.Tensor, labels: torch.Tensor) -> float:
    """The share of right answers; int64 (N,) both.

    >>> accuracy(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 1]))
    0.75
    """
    return float((predicted == labels).double().mean())


def macro_recall(predicted: torch.Tensor, labels: torch.Tensor) -> float:
    """The share of right answers in each class that occurs, averaged over the classes; int64 (N,) both.

    >>> macro_recall(torch.tensor([0, 0, 0, 0]), torch.tensor([0, 0, 0, 1]))
    0.5
    """
    right = (predicted == labels).double()
    return float(torch.stack([right[labels == label].mean() for label in labels.unique()]).mean())


def _checked(labels: torch.Tensor | None, num_classes: int) -> torch.Tensor:
    if labels is None:
        raise DataError("this data set has no labels; expected items (image, label)")
    fits = labels.shape[1] == num_classes if labels.ndim == 2 else 0 <= int(labels.min()) <= int(labels.max())
    if not fits or int(class_index(labels).max()) >= num_classes:
        raise InputError(
            f"got labels {tuple(labels.shape)} from {labels.min()} to {labels.max()} for {num_classes} classes; "
            f"expected class numbers below {num_classes}, or soft labels (B, {num_classes})"
        )
    return labels
