"""A few labels reach unlabelled images, and those become reference samples."""

from __future__ import annotations

import pytest
import torch

from augmentor import LatentAugment
from augmentor.exceptions import DataError
from augmentor.latents import encode_all, spread_labels
from augmentor.latents.label_spreading import SURE_SHARE


@pytest.fixture
def few(digits):
    """5 labelled digits of each class, and the rest."""
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))
    labelled = torch.cat([order[digits.targets[order] == label][:5] for label in range(10)])
    rest = order[~torch.isin(order, labelled)]
    return digits.subset(labelled), digits.subset(rest)


def test_the_labels_of_fifty_digits_reach_the_others(vae, few):
    labelled, rest = few
    augment = LatentAugment(vae, "smote").fit(labelled, unlabelled=[(rest.images, rest.targets * 0)])  # a lie, unread
    assert augment.reference is not None
    assert len(augment.reference) == len(labelled) + round(SURE_SHARE * len(rest))
    raw = encode_all(vae, rest)[0].mean
    rows, labels = spread_labels(
        vae.stats.standardise(encode_all(vae, labelled)[0].mean), labelled.targets, vae.stats.standardise(raw)
    )
    assert (labels == rest.targets[rows]).double().mean() > 0.9


def test_without_labels_all_join_the_reference_set(vae, few):
    labelled, rest = few
    augment = LatentAugment(vae, "smote").fit([(labelled.images, None)], unlabelled=rest)
    assert len(augment.reference) == len(labelled) + len(rest)
    assert not augment.reference.labelled


def test_it_is_the_same_every_time_and_draws_nothing(global_rng_untouched):
    z = torch.cat([torch.randn(20, 3, generator=torch.Generator().manual_seed(n)) + 4 * n for n in range(2)])
    rows, found = spread_labels(z[[0, 25]], torch.tensor([7, 2]), z)  # class numbers need not be consecutive
    assert torch.equal(found, torch.where(rows < 20, 7, 2))
    torch.testing.assert_close(spread_labels(z[[0, 25]], torch.tensor([7, 2]), z), (rows, found), atol=0, rtol=0)


def test_labels_of_one_class_are_refused():
    with pytest.raises(DataError, match="at least 2 classes, got 1"):
        spread_labels(torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64), torch.zeros(4, 3))


def test_what_no_label_reaches_stays_out():
    near = torch.tensor([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]])
    island = 100 + torch.arange(12.0)[:, None] / 100
    rows, _ = spread_labels(near[[0, 3]], torch.tensor([0, 1]), torch.cat([near.repeat(4, 1), island]))
    assert int(rows.max()) < 24
