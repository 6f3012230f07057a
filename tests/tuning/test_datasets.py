"""Data sets around data sets: parts, transformed ones, and ones that stop at a deadline."""

from __future__ import annotations

import time

import pytest
import torch

from augmentor import LatentAugment, MixedDataset
from augmentor.exceptions import BudgetError, DataError
from augmentor.tuning import Transformed
from augmentor.tuning.datasets import Until, few_of_each, part


@pytest.fixture(scope="module")
def few(digits):
    return digits.subset(torch.arange(40))


class Named(list):
    """It has an attribute that is called as a method of ours."""

    subset = "train"


@pytest.mark.parametrize("kind", [lambda data: data, Named, lambda data: Until(data, time.monotonic() + 1000)])
def test_a_part_has_its_rows_labels_and_classes(few, kind):
    found = part(kind(few), torch.tensor([3, 1, 3]).numpy(), few.targets)
    assert [label for _, label in found] == found.targets.tolist() == few.targets[[3, 1, 3]].tolist()
    assert all(torch.equal(found[place][0], few[row][0]) for place, row in enumerate((3, 1, 3)))
    assert [image.shape for image, _ in found.__getitems__([0, 2])] == [(1, 8, 8)] * 2
    assert found.classes == [str(number) for number in range(10)]


def test_what_is_transformed_keeps_labels_and_epochs(few):
    turned = Transformed(few, lambda image: image.flip(-1))
    assert torch.equal(turned[2][0], few[2][0].flip(-1))
    assert torch.equal(turned.targets, few.targets)
    turned.set_epoch(1)  # there are no epochs in it
    with pytest.raises(DataError, match="no labels"):
        _ = Transformed(list(few.images), lambda image: image).targets
    moved = Transformed(MixedDataset(few, LatentAugment("digits"), ratio=1.0), lambda image: image)
    before = moved[len(few)][0]
    moved.set_epoch(1)
    assert not torch.equal(moved[len(few)][0], before)  # and so is its noise


def test_a_deadline_lets_everything_through_until_it_passes(few):
    until = Until(few, time.monotonic() + 1000)
    assert (until.fingerprint, until.classes, len(until)) == (few.fingerprint, few.classes, len(few))
    assert torch.equal(until.targets, few.targets)
    assert torch.equal(until[0][0], few[0][0])
    with pytest.raises(BudgetError):
        Until(few, time.monotonic() - 1)[0]


@pytest.mark.parametrize("soft", [False, True])
def test_few_of_each_class(digits, soft):
    labels = torch.eye(10)[digits.targets] if soft else digits.targets
    data = list(zip(digits.images, labels, strict=True)) if soft else digits
    some = few_of_each(data, 3, seed=1)
    numbers = some.targets.argmax(1) if soft else some.targets
    assert numbers.bincount().tolist() == [3] * 10
    assert torch.equal(some.targets, few_of_each(data, 3, seed=1).targets)
    assert not torch.equal(torch.stack([image for image, _ in some]), few_of_each(digits, 3, seed=2).images)
