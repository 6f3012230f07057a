"""Data sets around data sets: transformed ones, and few images of each class."""

from __future__ import annotations

import pytest
import torch

from augmentor import LatentAugment, MixedDataset
from augmentor.exceptions import DataError
from augmentor.tuning import Transformed
from augmentor.tuning.datasets import few_of_each


def test_what_is_transformed_keeps_labels_and_epochs(digits):
    few = digits.subset(torch.arange(40))
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


@pytest.mark.parametrize("soft", [False, True])
def test_few_of_each_class(digits, soft):
    labels = torch.eye(10)[digits.targets] if soft else digits.targets
    data = list(zip(digits.images, labels, strict=True)) if soft else digits
    some = few_of_each(data, 3, seed=1)
    numbers = some.targets.argmax(1) if soft else some.targets
    assert numbers.bincount().tolist() == [3] * 10
    assert torch.equal(some.targets, few_of_each(data, 3, seed=1).targets)
    assert not torch.equal(torch.stack([image for image, _ in some]), few_of_each(digits, 3, seed=2).images)
