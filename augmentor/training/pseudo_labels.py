"""A classifier from a few labelled images and many others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn

from .._internal.datasets import num_classes_of
from .._internal.random import fold
from ..data import PseudoLabelled, Transformed, confident_labels, pseudo_label
from ..data._images import images_alike
from ..data.pseudo_labelled import check_threshold, class_numbers
from ..exceptions import InputError
from ..latents.pseudo_labels import MIN_ACCURACY
from .classifier import Network, train_classifier


class PseudoLabelTraining(NamedTuple):
    """The trained network, in eval mode, and the data set that it was trained on in the last round.

    >>> PseudoLabelTraining._fields
    ('model', 'dataset')
    """

    model: nn.Module
    dataset: PseudoLabelled


def train_with_pseudo_labels(
    network: Network,
    labelled: Any,
    unlabelled: Any,
    encoder: Any = None,
    *,
    transform: Callable[[Any], Any] | None = None,
    rounds: int = 2,
    threshold: float = 0.95,
    min_accuracy: float = MIN_ACCURACY,
    seed: int = 0,
    **training: Any,
) -> PseudoLabelTraining:
    """Train a classifier on a few labelled images, then `rounds` times anew on them and on images that it can label.

    In the first round an unlabelled image gets a label if label spreading over the encoder's vectors and the classifier
    of the labelled images give it the same one (`PseudoLabelled.agreeing`). In the others, and without an
    encoder in the first one too, if the classifier before is confident (`confident_labels`, Lee 2013). Each round
    begins with new weights, so that mistakes of the one before are not kept (Xie et al. 2020, "Noisy Student").

    network, training: as in `train_classifier`; `steps` and others are those of each round. The rounds with
    pseudo-labels have many more images to learn from, so `steps` should be 300 or more. labelled, unlabelled:
    map-style data sets, as in `pseudo_label`. encoder: as in `pseudo_label`, the name of a pretrained autoencoder or
    another; None does without. transform: of one tensor (C,H,W), for the images of the training, not for those that are
    labelled; a strong one matters. rounds: at least 1. threshold: of `confident_labels`. min_accuracy: of
    `pseudo_label`. seed: of the trainings, and of the estimate of `pseudo_label`.

    Raises `PseudoLabelError` before any training where too few of the encoder's labels would be right, and what
    `pseudo_label` and `train_classifier` raise.

    >>> from augmentor.data import load_source
    >>> from augmentor.training import small_cnn
    >>> digits = load_source("digits")
    >>> few, many = digits.subset(range(60)), digits.subset(range(60, 1797))
    >>> model, data = train_with_pseudo_labels(small_cnn, few, many, "digits", steps=40)
    >>> bool((data.targets[60:] == many.targets[data.rows]).double().mean() > 0.9)
    True
    """
    if rounds < 1:
        raise InputError(f"rounds is at least 1, got {rounds}; train_classifier trains on the labelled images alone")

    check_threshold(threshold)
    images_alike(labelled=labelled, unlabelled=unlabelled)
    classes = num_classes_of(labelled, class_numbers(labelled)) or 1

    def trained(data: Any, number: int) -> nn.Module:
        data = data if transform is None else Transformed(data, transform)
        return train_classifier(network, data, num_classes=classes, seed=fold(seed, "round", number), **training)

    spread = None
    if encoder is not None:
        spread = pseudo_label(labelled, unlabelled, encoder, min_accuracy=min_accuracy, seed=seed)
    model = trained(labelled, 0)
    for number in range(1, rounds + 1):
        if spread is not None and number == 1:
            data = spread.agreeing(model)
        else:
            data = confident_labels(labelled, unlabelled, model, threshold=threshold)
        model = trained(data, number)
    return PseudoLabelTraining(model, data)
