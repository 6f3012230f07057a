"""Training on a few labelled images and many others."""

from __future__ import annotations

import time

import pytest
import torch
from torchvision.transforms import v2

from augmentor._internal.weights import fingerprint
from augmentor.data import confident_labels
from augmentor.exceptions import BudgetError, DataError, InputError, PseudoLabelError, RangeError
from augmentor.training import small_cnn, train_classifier, train_with_pseudo_labels
from augmentor.training.classifier import accuracy, predict

AFFINE = v2.RandomAffine(10, (0.1, 0.1))


def weights(found):
    return fingerprint(found.model.state_dict())


@pytest.fixture(scope="module")
def few(digits):
    rows = torch.cat([torch.where(digits.targets == label)[0][:4] for label in range(10)])
    return digits.subset(rows)


@pytest.fixture(scope="module")
def many(digits):
    return digits.subset(torch.arange(600, len(digits)))


@pytest.fixture(scope="module")
def trained(few, many):
    return train_with_pseudo_labels(small_cnn, few, many, "digits", transform=AFFINE, steps=100)


def test_it_is_better_than_the_labelled_images_alone(trained, few, many):
    alone = train_classifier(small_cnn, few, num_classes=10, steps=100)
    score, before = (accuracy(predict(model, many), many.targets) for model in (trained.model, alone))
    assert score > before + 0.03
    assert not trained.model.training


def test_the_data_set_of_the_last_round_is_given_with_labels_that_are_mostly_right(trained, few, many):
    data = trained.dataset
    assert torch.equal(data.targets[: len(few)], few.targets)
    assert len(data.rows) > 0.6 * len(many)
    assert float((data.targets[len(few) :] == many.targets[data.rows]).double().mean()) > 0.95


def test_a_seed_repeats_it_and_another_does_not(few, many):
    first, again, other = (
        train_with_pseudo_labels(small_cnn, few, many, "digits", transform=AFFINE, steps=20, rounds=1, seed=seed)
        for seed in (0, 0, 1)
    )
    assert weights(first) == weights(again) != weights(other)


def test_labels_of_the_unlabelled_images_are_not_looked_at(few, many):
    without = [image for image, _ in many]
    options = {"transform": AFFINE, "steps": 30, "rounds": 1, "threshold": 0.3}
    pairs = [train_with_pseudo_labels(small_cnn, few, data, "digits", **options) for data in (many, without)]
    assert weights(pairs[0]) == weights(pairs[1])


def test_without_an_encoder_the_classifier_labels_what_it_is_confident_of(few, many):
    data = train_with_pseudo_labels(small_cnn, few, many, steps=100, rounds=1).dataset
    assert data.accuracy is None
    assert (data.confidences >= 0.95).all()
    assert 0 < len(data.rows) < len(many)


def test_an_encoder_adds_what_the_classifier_is_not_confident_of(few, many):
    """In the first round the two have to agree, however sure the classifier is."""
    data = train_with_pseudo_labels(small_cnn, few, many, "digits", steps=30, rounds=1, threshold=1.0).dataset
    assert data.accuracy is not None
    assert len(data.rows) > 0.2 * len(many)


def test_no_confident_label_leaves_the_labelled_images(few, many):
    model, data = train_with_pseudo_labels(small_cnn, few, many, steps=4, threshold=1.0)
    assert len(data) == len(few)
    assert predict(model, few).shape == (len(few),)


def test_an_encoder_that_cannot_tell_the_classes_is_refused_before_any_training(few, many):
    def network(channels, classes):
        raise AssertionError("trained")

    with pytest.raises(PseudoLabelError, match="min_accuracy=0"):
        train_with_pseudo_labels(network, few, many, lambda images: images.mean((2, 3)), steps=30)


def test_bad_input_is_refused_before_any_training(few, many):
    def network(channels, classes):
        raise AssertionError("trained")

    with pytest.raises(InputError, match="rounds must be at least 1, got 0"):
        train_with_pseudo_labels(network, few, many, rounds=0)
    with pytest.raises(InputError, match=r"threshold must be a probability, in \[0, 1\]; got 95"):
        train_with_pseudo_labels(network, few, many, threshold=95)
    with pytest.raises(DataError, match="unlabelled has no images"):
        train_with_pseudo_labels(network, few, [])
    with pytest.raises(InputError, match="one-hot or soft"):
        train_with_pseudo_labels(network, [(few.images[0], torch.eye(10)[0])], many)


def test_a_deadline_and_a_network_that_diverges_stop_it(few, many):
    with pytest.raises(BudgetError):
        train_with_pseudo_labels(small_cnn, few, many, steps=30, deadline=time.monotonic())
    with pytest.raises(RangeError, match=r"classifier returned NaN or infinite values for .* use another classifier"):
        confident_labels(few, many, lambda images: torch.full((len(images), 10), float("nan")))
