"""Classifiers trained on few labelled images, with and without latent augmentation, and a conclusion."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LABELS, DRAWS = 5, 3  # labelled images per class; random draws of them
POLICY, RATIO = "class_gaussian", 4.0

NONE, MILD, STRONG = CONTROLS = "no augmentation", "mild affine", "TrivialAugmentWide + strong affine"
# Two ways to use the unlabelled images as well, the first without an autoencoder.
SPREAD, OURS = f"label spreading + {MILD}", f"{POLICY} + {MILD}"


def labelled(images: Any, seed: int, draw: int) -> Any:
    """Return the labelled images of this draw."""
    from .._internal.random import fold
    from ..tuning.datasets import few_of_each

    return few_of_each(images, LABELS, fold(seed, "labelled", draw))


def augment_of(model: Any, few: Any, images: Any) -> Any:
    """Return latent augmentation fitted to the labelled images and, as unlabelled images, to all."""
    from ..transform import LatentAugment

    return LatentAugment(model, POLICY).fit(few, unlabelled=images)


def accuracies(
    images: Any, test: Any, model: Any, record: Path, *, steps: int, seed: int, device: str
) -> dict[str, list[float]]:
    """Return for each augmentation the accuracies on `test` in per cent, one per draw of the labelled images.

    record: JSON file for the accuracies. A stopped run resumes after the last one in it.
    """
    from .._internal.files import write_json
    from .._internal.progress import progress_bar
    from .._internal.random import fold
    from ..training import small_cnn, train_classifier
    from ..training.classifier import accuracy, predict

    found: dict[str, list[float]] = json.loads(record.read_text()) if record.exists() else {}
    trainings = [(draw, name) for draw in range(DRAWS) for name in (*CONTROLS, SPREAD, OURS)]
    for draw, name in progress_bar(trainings, desc="classifiers", unit="training"):
        figures = found.setdefault(name, [])
        if draw < len(figures):
            continue
        data = _training_set(name, labelled(images, seed, draw), images, model, seed)
        classifier = train_classifier(
            small_cnn, data, num_classes=len(images.classes), steps=steps, seed=fold(seed, draw), device=device
        )
        figures.append(round(100 * accuracy(predict(classifier, test, device), test.targets), 2))
        write_json(record, found)
    return found


def _training_set(name: str, few: Any, images: Any, model: Any, seed: int) -> Any:
    """Return the training images of this row."""
    from torchvision.transforms import v2

    from .._internal.geometry import mild_geometry
    from ..data import MixedDataset, Transformed
    from ..latents import LatentCache

    if name == NONE:
        return few
    if name == STRONG:
        affine = v2.RandomAffine(15, (0.12, 0.12), (0.8, 1.2), (-15, 15, -15, 15), v2.InterpolationMode.BILINEAR)
        return Transformed(few, v2.Compose([v2.TrivialAugmentWide(), affine]))
    if name == SPREAD:
        few = _with_spread_labels(few, images)
    elif name == OURS:
        cache = LatentCache(few, model)
        few = MixedDataset(few, augment_of(model, few, images), ratio=RATIO, seed=seed, cache=cache)
    return Transformed(few, mild_geometry())


def _with_spread_labels(few: Any, images: Any) -> Any:
    """Return the labelled images, and images with confident labels by label spreading over pixels."""
    import torch

    from ..data import ArrayDataset
    from ..latents import spread_labels

    rows, labels = spread_labels(few.images.float(), few.targets, images.images.float())
    return ArrayDataset(torch.cat([few.images, images.images[rows]]), torch.cat([few.targets, labels]), images.classes)


def conclusion(found: Mapping[str, Sequence[float]]) -> str:
    """Return a sentence on the results of `accuracies`: whether latent augmentation gains, and which row to use.

    Differences between rows are taken per draw; a gain is a mean difference larger than its standard deviation. Latent
    augmentation is recommended if it gains over the best control and over label spreading, else the better of these.

    >>> conclusion({NONE: [80, 82], MILD: [88, 90], STRONG: [85, 86], SPREAD: [90, 92], OURS: [91, 94]})[-33:]
    'Use class_gaussian + mild affine.'
    """

    def mean(name: str) -> float:
        return statistics.fmean(found[name])

    rivals = sorted((max(CONTROLS, key=mean), SPREAD), key=mean)
    compared = [_compared(found[OURS], found[rival], rival) for rival in rivals]
    gained = all(gained for _, gained in compared)
    use = f"{OURS}." if gained else f"{rivals[-1]}: it needs no autoencoder."
    texts = "; it is ".join(text for text, _ in compared)
    return f"Over {len(found[OURS])} draws, the accuracy of {OURS} is {texts}. Use {use}"


def _compared(ours: Sequence[float], others: Sequence[float], name: str) -> tuple[str, bool]:
    """Return the difference in words, and whether it is a gain larger than the spread."""
    gains = [one - other for one, other in zip(ours, others, strict=True)]
    gain, spread = statistics.fmean(gains), statistics.stdev(gains)
    side, change = ("above", "gain") if gain >= 0 else ("below", "loss")
    word = f"a {change} larger than the standard deviation" if abs(gain) > spread else "within the standard deviation"
    return f"{abs(gain):.1f} ± {spread:.1f} percentage points {side} that of {name}, {word}", gain > spread
