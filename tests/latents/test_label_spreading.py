"""A few labels reach unlabelled images, and those become reference samples."""

from __future__ import annotations

import pytest
import torch

from augmentor import LatentAugment
from augmentor.exceptions import AugmentorWarning, DataError
from augmentor.latents import PseudoLabeller, encode_all, spread_labels
from augmentor.latents.pseudo_labels import SURE_SHARE, HeldOut


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


# How many of them are right


def test_wrong_labels_are_warned_of_once_with_the_estimate(few):
    labelled, rest = few
    mixed_up = [(labelled.images, labelled.targets.roll(1, 0) * 3 % 10)]  # some of each class have another's label
    with pytest.warns(AugmentorWarning, match=r"is about \d+ % .*leave unlabelled= out") as said:
        augment = LatentAugment("digits", "smote").fit(mixed_up, unlabelled=rest)
    assert [warning.filename for warning in said] == [__file__]
    assert len(augment.reference) > len(labelled)  # it goes on all the same


def groups(*counts: int, apart: float = 20) -> tuple[torch.Tensor, torch.Tensor]:
    """So many points of each group, the groups so far from each other, with their labels."""
    random = torch.Generator().manual_seed(0)
    labels = torch.cat([torch.full((count,), number) for number, count in enumerate(counts)])
    return torch.randn(len(labels), 3, generator=random) + apart * labels[:, None], labels


def test_each_label_is_hidden_once_and_its_class_keeps_one():
    z, labels = groups(2, 9, 31)
    more, _ = groups(60, 60, 60)
    assert PseudoLabeller(z, labels, more, share=1.0).held_out() == HeldOut(42, 42)
    alone = torch.cat([labels[:1], labels[2:]])
    assert PseudoLabeller(torch.cat([z[:1], z[2:]]), alone, more).held_out() is None


def test_only_hidden_labels_among_the_surest_count():
    z, labels = groups(20, 20, apart=1)
    labeller = PseudoLabeller(z, labels, groups(100, 100, apart=1)[0], share=0.5)
    surer = labeller.held_out()
    labeller.share = 1.0
    every = labeller.held_out()
    assert 10 <= surer.total <= 30 < every.total == 40
    assert surer.accuracy > every.accuracy


def test_labels_that_mean_nothing_are_found_out():
    z, _ = groups(40, 40)
    found = PseudoLabeller(z, torch.arange(80) % 2, groups(100, 100)[0]).held_out()
    assert found.accuracy < 0.7
    assert not found.reaches(0.8)


@pytest.mark.parametrize(
    ("right", "total", "least", "reached"),
    [
        (31, 40, 0.8, True),  # within a standard error
        (29, 40, 0.8, False),
        (128, 200, 0.8, False),  # the best of photographs with 20 labels a class
        (1, 1, 0.8, False),  # says next to nothing
        (3, 4, 0.8, False),
        (0, 5, 0.0, True),
    ],
)
def test_few_labels_get_the_benefit_of_the_doubt_but_a_handful_proves_nothing(right, total, least, reached):
    assert HeldOut(right, total).reaches(least) is reached


def test_self_training_takes_the_surest_too():
    z, labels = groups(3, 3)
    more, truth = groups(50, 50)
    rows, found, confidences = PseudoLabeller(z, labels + 4, more, "self_training", 0.3).pseudo_labels()
    assert len(rows) == 30
    assert torch.equal(found, truth[rows] + 4)
    assert bool((confidences > 0.9).all())
