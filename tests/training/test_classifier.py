"""The evaluation classifier: it learns, it repeats itself, it is fair, it stops."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn
from torchvision.transforms import v2

from augmentor._internal.weights import fingerprint
from augmentor.data.wrapper import Around
from augmentor.exceptions import BudgetError, DataError, InputError, TrainingError
from augmentor.training import small_cnn, train_classifier
from augmentor.training.classifier import accuracy, predict
from augmentor.tuning import Transformed


def train(data, **options):
    return train_classifier(small_cnn, data, **{"num_classes": 10, "steps": 4, "batch_size": 16, **options})


def test_it_learns_digits_it_has_not_seen(digits, global_rng_untouched):
    seen, rest = digits.subset(torch.arange(0, 1797, 2)), digits.subset(torch.arange(1, 1797, 2))
    model = train(seen, steps=150, batch_size=64)
    assert not model.training
    predicted = predict(model, rest)
    assert (predicted.dtype, predicted.shape) == (torch.int64, rest.targets.shape)
    assert accuracy(predicted, rest.targets) > 0.95


def test_images_of_any_usual_size():
    for shape in ((1, 8, 8), (3, 65, 64)):
        assert small_cnn(shape[0], 7)(torch.rand(2, *shape)).shape == (2, 7)


def test_the_seed_decides_everything_random_transforms_too(digits, global_rng_untouched):
    moved = Transformed(digits.subset(torch.arange(40)), v2.RandomAffine(20, translate=(0.1, 0.1)))
    mix = v2.MixUp(num_classes=10)

    def fingerprint_of(**options):
        return fingerprint(train(moved, **options).state_dict())

    assert fingerprint_of(mix=mix, seed=3) == fingerprint_of(mix=mix, seed=3)
    assert len({fingerprint_of(seed=3), fingerprint_of(seed=4), fingerprint_of(mix=mix, seed=3)}) == 3


class Counting(Around):
    """Notes which samples and epochs it is asked for."""

    def __init__(self, data):
        super().__init__(data)
        self.asked, self.epochs = [], []

    def __getitems__(self, indices):
        self.asked.append(list(indices))
        return self.dataset.__getitems__(indices)

    def set_epoch(self, epoch):
        self.epochs.append(epoch)


def test_each_sample_comes_once_an_epoch_and_steps_are_of_one_size(digits):
    data = Counting(digits.subset(torch.arange(12)))
    train(data, steps=6, batch_size=8)
    batches = data.asked[1:]  # the first looks at the shape
    assert [len(batch) for batch in batches] == [8] * 6
    places = [index for batch in batches for index in batch]
    for epoch in range(4):
        assert sorted(places[12 * epoch : 12 * epoch + 12]) == list(range(12))
    assert data.epochs == [0, 0, 1, 2, 2, 3]


def test_soft_labels_and_floating_images(digits):
    hard = [digits[i] for i in range(20)]
    soft = [(image.float() / 255, nn.functional.one_hot(torch.tensor(label), 10).float()) for image, label in hard]
    for one, two in zip(train(soft).parameters(), train(hard).parameters(), strict=True):
        assert torch.allclose(one, two, atol=1e-4)


def test_it_stops_at_the_deadline(digits):
    with pytest.raises(BudgetError, match="the time limit was reached after 0 of 4 training steps"):
        train(digits, deadline=time.monotonic() - 1)
    train(digits, deadline=time.monotonic() + 1000)


def test_what_does_not_fit_is_refused(digits):
    for data, options, error, said in (
        (digits, {"num_classes": 9, "batch_size": 500}, InputError, "expected class numbers below 9"),
        ([(torch.rand(1, 8, 8), torch.tensor([0.5, 0.5]))] * 4, {}, InputError, "soft labels"),
        ([torch.rand(1, 8, 8)] * 4, {}, DataError, "no labels"),
        ([], {}, DataError, "empty"),
        (digits, {"steps": 1}, InputError, "steps must be >= 2"),
        (digits, {"lr": 1e30}, TrainingError, "try a lower learning rate"),
    ):
        with pytest.raises(error, match=said):
            train(data, **options)
