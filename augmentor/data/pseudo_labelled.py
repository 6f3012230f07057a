"""`pseudo_label`, `confident_labels`: make a labelled data set from a few labelled and many unlabelled images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from .._internal.batched import BatchedDataset
from .._internal.checks import checked_rows
from .._internal.datasets import class_names_of, dataset_labels
from ..exceptions import DataError, InputError, PseudoLabelError, ShapeError
from ..latents import PseudoLabeller, PseudoLabels
from ..latents.pseudo_labels import MIN_ACCURACY, SURE_SHARE, HeldOut
from ._encoders import AnyEncoder, encoded
from ._images import Images, images_alike
from .arrays import checked_classes

# Float images (B,C,H,W) in [0, 1] => logits (B,K).
Classifier = Callable[[torch.Tensor], torch.Tensor]


class PseudoLabelled(BatchedDataset[tuple[torch.Tensor, int]]):
    """Data set of labelled images, followed by pseudo-labelled images. Items are `(tensor (C,H,W), int)`.

    `pseudo_label` and `confident_labels` return it. Images are read from the two data sets on access; they are uint8 if
    both data sets are, else float32 in [0, 1].

    targets: int64 (N,), all labels. classes: names of the classes. confidences: float32 (N,), probability of each label
    according to the method, 1 for labelled images. rows: int64, indices of the pseudo-labelled images in the unlabelled
    data set. accuracy: estimated fraction of correct pseudo-labels, or None.

    >>> from augmentor.data import load_source
    >>> digits = load_source("digits")
    >>> pseudo_label(digits.subset(range(100)), digits.subset(range(100, 500)), "digits")
    PseudoLabelled(100 labelled and 320 of 400 unlabelled images, 10 classes, estimated accuracy 0.97)
    """

    def __init__(
        self, labelled: Images, unlabelled: Images, labels: torch.Tensor, found: PseudoLabels, accuracy: float | None,
        classes: Sequence[Any],
    ):  # fmt: skip
        self._labelled, self._unlabelled = labelled, unlabelled
        self.targets = torch.cat([labels, found.labels])
        self.classes = list(classes)
        self.confidences = torch.cat([torch.ones(len(labels)), found.confidences])
        self.rows = found.rows
        self.accuracy = accuracy

    def agreeing(self, classifier: Classifier, device: torch.device | str | None = None) -> PseudoLabelled:
        """Return a data set without the pseudo-labels that differ from the predictions of a classifier.

        Two different methods rarely make the same mistake (co-training, Blum and Mitchell 1998), so a larger fraction
        of the remaining labels is correct. `accuracy` is not updated, and is then too low.

        classifier: a network trained on the labelled images, or any function of float images (B,C,H,W) in [0, 1] that
        returns logits (B,K). device: where to compute. Default: that of the classifier. Raises `ShapeError` if K is not
        the number of classes.

        >>> from augmentor.data import load_source
        >>> digits = load_source("digits")
        >>> found = pseudo_label(digits.subset(range(100)), digits.subset(range(100, 500)), "digits")
        >>> found.agreeing(lambda images: torch.eye(10)[[3] * len(images)]).targets[100:].unique()
        tensor([3])
        """
        predicted = _probabilities(classifier, self._unlabelled, len(self.classes), device).argmax(1)
        known, given = self.targets.split([len(self._labelled), len(self.rows)])
        agreed = predicted[self.rows] == given
        found = PseudoLabels(self.rows[agreed], given[agreed], self.confidences[len(known) :][agreed])
        return PseudoLabelled(self._labelled, self._unlabelled, known, found, self.accuracy, self.classes)

    def __len__(self) -> int:
        return len(self.targets)

    def _items(self, indices: Sequence[int]) -> list[tuple[torch.Tensor, int]]:
        """Return the items at these indices, with one call to each of the two data sets."""
        places = torch.from_numpy(checked_rows(indices, len(self)))
        count = len(self._labelled)
        is_labelled = places < count
        labelled = iter(self._labelled.__getitems__(places[is_labelled].tolist()))
        others = iter(self._unlabelled.__getitems__(self.rows[places[~is_labelled] - count].tolist()))
        images = (next(labelled if known else others) for known in is_labelled.tolist())
        return list(zip(images, self.targets[places].tolist(), strict=True))

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the two data sets, if they have `set_epoch`."""
        for images in (self._labelled, self._unlabelled):
            if hasattr(images.dataset, "set_epoch"):
                images.dataset.set_epoch(epoch)

    def __repr__(self) -> str:
        accuracy = "accuracy not estimated" if self.accuracy is None else f"estimated accuracy {self.accuracy:.2f}"
        return (
            f"PseudoLabelled({len(self._labelled)} labelled and {len(self.rows)} of {len(self._unlabelled)} unlabelled "
            f"images, {len(self.classes)} classes, {accuracy})"
        )


def pseudo_label(
    labelled: Any,
    unlabelled: Any,
    encoder: AnyEncoder,
    *,
    method: str = "label_spreading",
    share: float = SURE_SHARE,
    min_accuracy: float = MIN_ACCURACY,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> PseudoLabelled:
    """Assign labels to unlabelled images; raise an error if too many of them are estimated to be wrong.

    labelled: map-style data set of (image, class number). unlabelled: map-style data set of images of the same shape;
        its labels, if any, are ignored. It may contain the labelled images.
    encoder: converts images to the vectors that are compared. The name of a pretrained autoencoder, the path of a
        `.safetensors` file or of the folder of a run, or an `Autoencoder`, for standardised latents; the name of a
        feature extractor of `augmentor.quality` or such an extractor; or any function of float images (B,C,H,W) in
        [0, 1] that returns features (B, *D). It is not changed.
    method: "label_spreading" over the graph of the ten nearest neighbours (Zhou et al. 2004), or "self_training" of a
        logistic regression (Yarowsky 1995), both from scikit-learn.
    share: fraction of the unlabelled images that gets a label, in (0, 1]: those with the most probable labels.
    min_accuracy: least fraction of correct labels, in [0, 1); 0 disables this check.
    seed: selects which labels are hidden together for the estimate. The assigned labels do not depend on it.
    device: where to encode. Default: the device of the encoder.

    The accuracy is estimated on the labelled images. In each of up to five folds, some labels are hidden, their images
    are added to the unlabelled ones, and the labels assigned to them are compared with the hidden ones. Fewer labels
    remain then, so the estimate is slightly too low. With few labels it is also uncertain. `PseudoLabelError` is raised
    if it is below `min_accuracy` by more than one standard error, and if a class has only one label, so that none can
    be hidden.

    Raises `InputError` for invalid arguments and for labels that are not class numbers, `ShapeError` for images of
    several shapes or of a shape that the encoder does not accept, `RangeError` for images outside [0, 1] and features
    that are not finite, and `DataError` for an empty data set and for labels of one class.

    >>> from augmentor.data import load_source
    >>> digits = load_source("digits")
    >>> few, many = digits.subset(range(100)), digits.subset(range(100, 1797))
    >>> train = pseudo_label(few, many, "digits")
    >>> len(train), bool((train.targets[100:] == many.targets[train.rows]).double().mean() > 0.9)
    (1458, True)
    """
    if not 0 <= min_accuracy < 1:
        raise InputError(f"min_accuracy must be a fraction of correct labels, in [0, 1); got {min_accuracy}")
    known, others = images_alike(labelled=labelled, unlabelled=unlabelled)
    labels = class_numbers(labelled)
    classes = checked_classes(labels, class_names_of(labelled) or None)
    features = encoded(encoder, known, others, device=device)
    labeller = PseudoLabeller(features[0], labels, features[1], method, share)
    estimate = labeller.held_out(seed)
    if min_accuracy > 0:
        _check_accuracy(estimate, min_accuracy, labels, classes)
    accuracy = None if estimate is None else estimate.accuracy
    return PseudoLabelled(known, others, labels, labeller.pseudo_labels(), accuracy, classes)


def confident_labels(
    labelled: Any,
    unlabelled: Any,
    classifier: Classifier,
    *,
    threshold: float = 0.95,
    device: torch.device | str | None = None,
) -> PseudoLabelled:
    """Assign the confident predictions of a classifier as labels to unlabelled images (Lee 2013).

    labelled, unlabelled: as in `pseudo_label`. classifier: a trained network, or any function of float images (B,C,H,W)
    in [0, 1] that returns logits (B,K). threshold: least probability of an assigned label, in [0, 1]. device: where to
    compute. Default: the device of the classifier.

    The accuracy is not estimated, because the classifier was trained on the labelled images. Raises the same errors as
    `pseudo_label` for invalid arguments and data.

    >>> from augmentor.data import load_source
    >>> digits = load_source("digits")
    >>> confident_labels(digits.subset(range(100)), digits, lambda images: 9 * torch.eye(10)[[3] * len(images)])
    PseudoLabelled(100 labelled and 1797 of 1797 unlabelled images, 10 classes, accuracy not estimated)
    """
    check_threshold(threshold)
    known, others = images_alike(labelled=labelled, unlabelled=unlabelled)
    labels = class_numbers(labelled)
    classes = checked_classes(labels, class_names_of(labelled) or None)
    confidences, predicted = _probabilities(classifier, others, len(classes), device).max(1)
    rows = (confidences >= threshold).nonzero().flatten()
    found = PseudoLabels(rows, predicted[rows], confidences[rows])
    return PseudoLabelled(known, others, labels, found, None, classes)


def check_threshold(threshold: float) -> None:
    """Raise `InputError` if the threshold is not a probability."""
    if not 0 <= threshold <= 1:
        raise InputError(f"threshold must be a probability, in [0, 1]; got {threshold}")


def _probabilities(
    classifier: Classifier, images: Images, classes: int, device: torch.device | str | None
) -> torch.Tensor:
    """Return class probabilities, float32 (N,K)."""
    (logits,) = encoded(classifier, images, device=device, role="classifier")
    if logits.ndim != 2 or logits.shape[1] != classes:
        raise ShapeError(f"the classifier returned {tuple(logits.shape[1:])} per image; expected ({classes},) logits")
    return logits.softmax(1)


def class_numbers(labelled: Any) -> torch.Tensor:
    """Return the labels int64 (N,); raise an error if one is not a class number."""
    labels = dataset_labels(labelled)
    if labels.ndim != 1:
        raise InputError(
            f"labelled has labels {tuple(labels.shape)}, one-hot or soft; expected class numbers (N,), such as "
            "labels.argmax(1)"
        )
    if unknown := int((labels < 0).sum()):
        raise DataError(
            f"{unknown} of {len(labels)} images in labelled have a negative label, which means no label; expected "
            "class numbers: move these images to unlabelled"
        )
    return labels


def _check_accuracy(estimate: HeldOut | None, least: float, labels: torch.Tensor, classes: Sequence[Any]) -> None:
    advice = "label more images, or disable this check with min_accuracy=0"
    if estimate is None:
        counts = labels.bincount()
        rare = [str(classes[number]) for number in (counts == 1).nonzero().flatten().tolist()]
        why = f"only one label for class {', '.join(rare[:3])}" if rare else "no held-out image gets a label"
        raise PseudoLabelError(f"cannot estimate how many pseudo-labels are correct: {why}; {advice}")
    if not estimate.reaches(least):
        raise PseudoLabelError(
            f"the estimated accuracy of the pseudo-labels is {estimate}; expected at least {100 * least:g} %: use "
            f"another encoder, such as an autoencoder trained on all of these images, {advice}"
        )
