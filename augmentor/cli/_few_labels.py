"""Classifiers trained on few labelled images, with and without latent augmentation, and what their figures say."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LABELS, DRAWS = 5, 3  # labelled images a class, and how often they are drawn anew
POLICY, RATIO = "class_gaussian", 4.0

NONE, MILD, STRONG = "no augmentation", "mild affine", "TrivialAugmentWide + affine"
OURS = f"{POLICY}, then {STRONG}"
CONTROLS = (NONE, MILD, STRONG)


def labelled(images: Any, seed: int, draw: int) -> Any:
    """The images that keep their labels in this draw."""
    from .._internal.random import fold
    from ..tuning.datasets import few_of_each

    return few_of_each(images, LABELS, fold(seed, "labelled", draw))


def augment_of(model: Any, few: Any, images: Any) -> Any:
    """Latent augmentation that is fitted on the labelled images and, without their labels, on all."""
    from ..transform import LatentAugment

    return LatentAugment(model, POLICY).fit(few, unlabelled=images)


def accuracies(
    images: Any, test: Any, model: Any, record: Path, *, steps: int, seed: int, device: str
) -> dict[str, list[float]]:
    """Of each augmentation the accuracy on `test` in per cent, one figure a draw of the labelled images.

    record: a JSON file of these figures. A run that was stopped goes on after the last one in it.
    """
    from .._internal.files import write_json
    from .._internal.progress import progress_bar
    from ..training import small_cnn, train_classifier
    from ..training.classifier import accuracy, predict

    found: dict[str, list[float]] = json.loads(record.read_text()) if record.exists() else {}
    trainings = [(draw, name) for draw in range(DRAWS) for name in (*CONTROLS, OURS)]
    for draw, name in progress_bar(trainings, desc="classifiers", unit="training"):
        figures = found.setdefault(name, [])
        if draw < len(figures):
            continue
        data = _training_set(name, labelled(images, seed, draw), images, model, seed)
        classifier = train_classifier(
            small_cnn, data, num_classes=len(images.classes), steps=steps, seed=seed + draw, device=device
        )
        figures.append(round(100 * accuracy(predict(classifier, test, device), test.targets), 2))
        write_json(record, found)
    return found


def _training_set(name: str, few: Any, images: Any, model: Any, seed: int) -> Any:
    """The labelled images under this augmentation."""
    from torchvision.transforms import v2

    from .._internal.geometry import mild_geometry
    from ..data import MixedDataset
    from ..tuning import Transformed

    if name == NONE:
        return few
    if name == MILD:
        return Transformed(few, mild_geometry())
    affine = v2.RandomAffine(15, (0.12, 0.12), (0.8, 1.2), (-15, 15, -15, 15), v2.InterpolationMode.BILINEAR)
    strong = v2.Compose([v2.TrivialAugmentWide(), affine])
    if name == STRONG:
        return Transformed(few, strong)
    return Transformed(MixedDataset(few, augment_of(model, few, images), ratio=RATIO, seed=seed), strong)


def conclusion(found: Mapping[str, Sequence[float]]) -> str:
    """What the figures of `accuracies` say: whether ours is better than the best control, and what to use.

    The difference is taken in each draw. It counts where its mean over the draws is larger than its standard deviation.

    >>> conclusion({NONE: [80, 82], MILD: [88, 90], STRONG: [85, 86], OURS: [91, 94]})[:68]
    'Use class_gaussian, then TrivialAugmentWide + affine: it is 3.5 ± 0.7'
    """
    best = max(CONTROLS, key=lambda name: statistics.fmean(found[name]))
    gains = [ours - control for ours, control in zip(found[OURS], found[best], strict=True)]
    gain, spread = statistics.fmean(gains), statistics.stdev(gains)
    points = f"{abs(gain):.1f} ± {spread:.1f} points {'above' if gain >= 0 else 'below'} the best control, {best}"
    if gain > spread:
        return f"Use {OURS}: it is {points}, more than the spread over {len(gains)} draws."
    if gain < -spread:
        return f"Use {best}: {OURS} is {points}, a loss of more than the spread over {len(gains)} draws."
    return f"Use {best}: {OURS} is {points}, which is within the spread over {len(gains)} draws, and it costs more."
