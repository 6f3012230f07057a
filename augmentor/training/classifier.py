"""The evaluation classifier, which measures the effect of augmentations in `tune` and in the benchmarks."""

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
    """Return a small CNN: three convolutions with batch norm and ReLU, pooling to 4x4 positions, and a linear layer.

    It maps float images (B, channels, H, W) with sides of at least 8 pixels to logits (B, num_classes).

    >>> small_cnn(1, 10)(torch.rand(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    layers: list[nn.Module] = []
    for before, after in ((channels, 16), (16, 32), (32, 64)):
        pool = [nn.MaxPool2d(2)] if after < 64 else []  # before the norm, which is then four times as fast
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
    """Train a classifier with AdamW, a one-cycle learning rate and cross-entropy; return it in eval mode.

    network: function of the numbers of channels and of classes. dataset: map-style data set whose items are (image,
    label); images uint8 or float in [0, 1], labels class numbers or soft (K,); its method `set_epoch` is called if it
    has one. steps, batch_size: number of steps and of samples per step. Epochs are concatenated, so the number of steps
    does not depend on the size of the data set. lr: largest learning rate. mix: transform of a batch of float images
    and labels, such as `v2.MixUp`. prior: class frequencies above 0, float (K,), for logit adjustment (Menon et al.
    2021): their logarithms are added to the logits in the loss, so that predictions are not biased to frequent classes.
    seed: seed of the initial weights, of the order, and of random numbers that the data set and `mix` draw from torch's
    global generator, whose state is restored. device: device of the training. deadline: latest value of
    `time.monotonic()`.

    Raises `BudgetError` at the deadline, `DataError` or `InputError` for labels that do not fit, `TrainingError` if the
    loss is not finite.

    >>> from augmentor.data import load_source
    >>> digits = load_source("digits")
    >>> model = train_classifier(small_cnn, digits, num_classes=10, steps=60)
    >>> accuracy(predict(model, digits), digits.targets) > 0.8
    True
    """
    if steps < 2 or batch_size < 1 or not lr > 0:
        raise InputError(f"steps must be >= 2, batch_size >= 1 and lr > 0; got {steps}, {batch_size} and {lr}")
    if len(dataset) == 0:
        raise DataError("got an empty data set to train on; expected at least 1 image")
    device = torch.device(device)
    stream = BatchStream(dataset, np.arange(len(dataset)), batch_size, seed)
    layout = torch.channels_last  # twice as fast, also on CPUs
    with seeded(seed, "weights"):
        images, _ = fetch(dataset, [0])
        model = network(images.shape[1], num_classes).to(device, memory_format=layout).train()  # type: ignore[call-overload]
    shift = 0.0 if prior is None else prior.to(device).log()
    optimizer, schedule = one_cycle(model, lr, steps)
    for step in range(steps):
        if deadline is not None and time.monotonic() > deadline:
            raise BudgetError(f"the time limit was reached after {step} of {steps} training steps; increase it")
        if hasattr(dataset, "set_epoch"):
            dataset.set_epoch(step * batch_size // len(dataset))
        with seeded(seed, "batch", step, device=device):  # for random transforms in the data set, `mix` and dropout
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
        raise TrainingError(f"the loss became {float(loss.detach())}; try a lower learning rate than lr={lr}")
    return model.eval()


def one_cycle(model: nn.Module, lr: float, steps: int) -> tuple[Optimizer, LRScheduler]:
    """Return AdamW, and a learning rate schedule that rises to `lr` and falls over `steps` (Smith and Topin 2018).

    >>> optimizer, schedule = one_cycle(small_cnn(1, 10), lr=2e-3, steps=100)
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=1e-3)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)


@torch.no_grad()
def predict(model: nn.Module, dataset: Any, device: torch.device | str = "cpu") -> torch.Tensor:
    """Return the most probable class of each image of a map-style data set: int64 (N,), on the CPU."""
    model = model.to(device).eval()
    return torch.cat([model(to_unit_float(images.to(device))).argmax(1).cpu() for images, _ in batches(dataset, 512)])


def accuracy(predicted: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the fraction of correct predictions; both arguments are int64 (N,).

    >>> accuracy(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 1]))
    0.75
    """
    return float((predicted == labels).double().mean())


def macro_recall(predicted: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the fraction of correct predictions per class, averaged over the classes in `labels`; both int64 (N,).

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
