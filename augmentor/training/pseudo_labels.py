"""Training of a classifier on few labelled and many unlabelled images."""

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
    """Trained network, in eval mode, and the data set of its last round of training.

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
    """Train a classifier on labelled images, then `rounds` times on these and on pseudo-labelled images.

    In the first round with an encoder, an unlabelled image is used if label spreading in the encoder's latent space and
    the classifier of the labelled images predict the same class (`PseudoLabelled.agreeing`). In all other rounds it is
    used if the previous classifier is confident (`confident_labels`, Lee 2013). Each round starts from new weights, so
    that it does not keep the errors of the previous classifier (Xie et al. 2020, "Noisy Student").

    network, training: as in `train_classifier`; `steps` is the number per round, and should be at least 300. labelled,
    unlabelled: map-style data sets, as in `pseudo_label`. encoder: as in `pseudo_label`, such as the name of a
    pretrained autoencoder, or None. transform: transform of one tensor (C,H,W); it is applied to training images only,
    and a strong one is important. rounds: number of rounds, at least 1. threshold: as in `confident_labels`.
    min_accuracy: as in `pseudo_label`. seed: seed of the trainings, and of the estimate in `pseudo_label`.

    Raises `PseudoLabelError` before any training if the estimated accuracy of the encoder's labels is too low, and the
    errors of `pseudo_label` and `train_classifier`.

    >>> from augmentor.data import load_source
    >>> from augmentor.training import small_cnn
    >>> digits = load_source("digits")
    >>> few, many = digits.subset(range(60)), digits.subset(range(60, 1797))
    >>> model, data = train_with_pseudo_labels(small_cnn, few, many, "digits", steps=40)
    >>> bool((data.targets[60:] == many.targets[data.rows]).double().mean() > 0.9)
    True
    """
    if rounds < 1:
        raise InputError(f"rounds must be at least 1, got {rounds}; for labelled images only, use train_classifier")

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
