"""`pseudo_label`, `confident_labels`: a few labelled images and many others => one labelled data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.data import Dataset

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


class PseudoLabelled(Dataset[tuple[torch.Tensor, int]]):
    """Labelled images, then unlabelled ones with the labels that they got: items `(tensor (C,H,W), int)`.

    `pseudo_label` makes it. Images are read from the two data sets when they are asked for; they are uint8 if all are,
    and else float32 in [0, 1].

    targets: int64 (N,), all labels. classes: their names. confidences: float32 (N,), how probable the method says each
    label is, 1 for the labelled images. rows: int64, which images of the unlabelled data set these are. accuracy: the
    share of right labels among those that were given, as estimated; None where it could not be.

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
        """Without the pseudo-labels that a classifier does not predict too.

        Two methods that look at an image in different ways rarely make the same mistake (co-training, Blum and Mitchell
        1998), so more of the labels that are left are right. `accuracy` stays, and is then too low.

        classifier: a network that was trained on the labelled images, or any function of float images (B,C,H,W) in
        [0, 1] that gives logits (B,K). device: where to compute; None is where the classifier is. Raises `ShapeError`
        for another K than the number of classes.

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

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[torch.Tensor, int]]:
        """The items of these numbers; each of the two data sets is asked once."""
        places = torch.from_numpy(checked_rows(indices, len(self)))
        count = len(self._labelled)
        is_labelled = places < count
        labelled = iter(self._labelled.__getitems__(places[is_labelled].tolist()))
        others = iter(self._unlabelled.__getitems__(self.rows[places[~is_labelled] - count].tolist()))
        images = (next(labelled if known else others) for known in is_labelled.tolist())
        return list(zip(images, self.targets[places].tolist(), strict=True))

    def set_epoch(self, epoch: int) -> None:
        """For the data sets inside, where they have epochs."""
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
    """Give labels to unlabelled images, and refuse if too many of them would be wrong.

    labelled: a map-style data set of (image, class number). unlabelled: a map-style data set of images of the same
        shape; if it has labels, they are not looked at. It may contain the labelled images.
    encoder: what turns images into the vectors that are compared. The name of a pretrained autoencoder, the path of a
        `.safetensors` file or the folder of a run, or an `Autoencoder`, of which the standard latents are taken; the
        name of a feature extractor of `augmentor.quality` or such an extractor; or any function of float images
        (B,C,H,W) in [0, 1] that gives features (B, *D). It is not changed.
    method: "label_spreading" over the graph of the ten nearest neighbours (Zhou et al. 2004), or "self_training" of a
        logistic regression (Yarowsky 1995), both those of scikit-learn.
    share: the part of the unlabelled images that gets a label, in (0, 1]; those whose label is the most probable.
    min_accuracy: the share of right labels that is expected, in [0, 1); 0 goes on whatever the estimate is.
    seed: decides which labels are hidden together for the estimate. The labels do not depend on it.
    device: where to encode; None is where the encoder is.

    The accuracy is estimated on the labelled images. In each of up to five folds some labels are hidden, their images
    join the unlabelled ones, and the hidden labels are compared with those that these images get. Fewer labels are left
    then, so the estimate is slightly too low. It is uncertain too where it rests on few labels: `PseudoLabelError` is
    raised if it is below `min_accuracy` by more than one standard error, and if a class has one label only, of which
    nothing can be hidden.

    Raises `InputError` for arguments that do not fit and for labels that are no class numbers, `ShapeError` for images
    of several shapes or of a shape that the encoder does not take, `RangeError` for images outside [0, 1] and features
    that are not finite, and `DataError` for an empty data set and for labels of one class.

    >>> from augmentor.data import load_source
    >>> digits = load_source("digits")
    >>> few, many = digits.subset(range(100)), digits.subset(range(100, 1797))
    >>> train = pseudo_label(few, many, "digits")
    >>> len(train), bool((train.targets[100:] == many.targets[train.rows]).double().mean() > 0.9)
    (1458, True)
    """
    if not 0 <= min_accuracy < 1:
        raise InputError(f"min_accuracy is a share of right labels, in [0, 1); got {min_accuracy}")
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
    """Give unlabelled images the labels that a classifier predicts, where it is confident (Lee 2013).

    labelled, unlabelled: as in `pseudo_label`. classifier: a trained network, or any function of float images (B,C,H,W)
    in [0, 1] that gives logits (B,K). threshold: the least probability, in [0, 1], of a label that is given. device:
    where to compute; None is where the classifier is.

    Nothing is estimated: the classifier has seen the labelled images. Raises what `pseudo_label` raises for arguments
    and data that do not fit.

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
    """Raise `InputError` for what is no probability."""
    if not 0 <= threshold <= 1:
        raise InputError(f"threshold is a probability, in [0, 1]; got {threshold}")


def _probabilities(
    classifier: Classifier, images: Images, classes: int, device: torch.device | str | None
) -> torch.Tensor:
    """Float32 (N,K)."""
    (logits,) = encoded(classifier, images, device=device, role="classifier")
    if logits.ndim != 2 or logits.shape[1] != classes:
        raise ShapeError(f"the classifier gave {tuple(logits.shape[1:])} for each image; expected ({classes},) logits")
    return logits.softmax(1)


def class_numbers(labelled: Any) -> torch.Tensor:
    """int64 (N,), all of them classes."""
    labels = dataset_labels(labelled)
    if labels.ndim != 1:
        raise InputError(
            f"labelled has labels {tuple(labels.shape)}, one-hot or soft; expected class numbers (N,), such as "
            "labels.argmax(1)"
        )
    if unknown := int((labels < 0).sum()):
        raise DataError(
            f"{unknown} of {len(labels)} images in labelled have a negative label, which is none; expected class "
            "numbers: put these images into unlabelled"
        )
    return labels


def _check_accuracy(estimate: HeldOut | None, least: float, labels: torch.Tensor, classes: Sequence[Any]) -> None:
    advice = "label more images, or go on all the same with min_accuracy=0"
    if estimate is None:
        counts = labels.bincount()
        rare = [str(classes[number]) for number in (counts == 1).nonzero().flatten().tolist()]
        why = f"class {', '.join(rare[:3])} has one label" if rare else "no label reaches a held-out image"
        raise PseudoLabelError(f"cannot tell how many pseudo-labels would be right: {why}; {advice}")
    if not estimate.reaches(least):
        raise PseudoLabelError(
            f"an estimated {estimate} of the pseudo-labels would be right; expected at least {100 * least:g} %: take "
            f"another encoder, such as an autoencoder trained on all of these images, {advice}"
        )
