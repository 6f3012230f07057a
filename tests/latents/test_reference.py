"""Which samples a policy gets from a reference set, or from the batch."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F

from augmentor._internal.random import SampleRandom, sample_keys
from augmentor.exceptions import ReferenceSetError
from augmentor.latents import Latents, ReferenceSet


def draws(count: int, seed: int = 0) -> SampleRandom:
    return SampleRandom(sample_keys(seed, 0, range(count)))


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def choose(how: str, reference: ReferenceSet, latents: Latents, random: SampleRandom | None = None):
    random = draws(len(latents)) if random is None else random
    return (
        reference.neighbours(latents, random, 5) if how == "neighbours" else reference.random_samples(latents, random)
    )


BOTH = pytest.mark.parametrize("how", ["random_samples", "neighbours"])


@BOTH
@pytest.mark.parametrize(("scale", "shape"), [(1.0, (2,)), (30.0, (4, 8, 8))], ids=str)
def test_a_sample_never_gets_itself_also_after_the_rounding_of_another_batch(how, scale, shape):
    z, labels = scale * normal(90, *shape) + scale, torch.arange(90) % 3
    reference = ReferenceSet(z, labels)
    for seed in range(6):
        for again in (z, z * (1 + 2e-7) + 1e-7):
            target = choose(how, reference, Latents(again, None, labels), draws(90, seed)).z
            assert ((target - z).flatten(1).abs().amax(1) > 0).all()


@BOTH
def test_samples_are_of_the_same_class_whatever_its_number_and_one_hot_labels_are_class_numbers(how):
    labels = torch.tensor([7, 2, 3])[torch.arange(60) % 3]
    z, order = normal(60, 3) + 10 * labels[:, None], torch.randperm(60, generator=torch.Generator().manual_seed(3))
    one_hot = F.one_hot(labels, 8).float()
    for fitted, given in itertools.product((labels, one_hot), repeat=2):
        target, found_labels, found = choose(how, ReferenceSet(z, fitted, 8), Latents(z[order], None, given[order]))
        assert found.all()
        assert torch.equal(found_labels, fitted[order])
        assert torch.equal((target.mean(1) / 10).round().long(), labels[order])


@BOTH
def test_partners_of_a_multi_hot_or_soft_label_have_the_same_one_and_ignored_samples_are_nobodys(how):
    rows = torch.tensor([[1, 0, 1], [0, 1, 1], [0, 0, 0], [0.7, 0.3, 0], [0, 0, 1], [1, 1, 1]])
    labels = rows[torch.tensor([0, 1, 2, 3, 4] * 8 + [5])]
    z = normal(41, 3)
    partners = choose(how, ReferenceSet(z, labels), Latents(z, None, labels))
    known = (labels > 0).any(1) & (torch.arange(41) < 40)
    assert torch.equal(partners.found, known)
    assert torch.equal(partners.labels[known], labels[known])
    mine = torch.stack([(z == each).all(1).nonzero()[0, 0] for each in partners.z[known]])
    assert torch.equal(labels[mine], labels[known])
    numbers = torch.tensor([0, 0, 0, -1, -1, -100, -100, 1])
    z = normal(8, 3)
    partners = choose(how, ReferenceSet(z, numbers), Latents(z, None, numbers))
    assert partners.found.tolist() == [True] * 3 + [False] * 5


def test_across_classes_ignored_samples_are_nobodys_partners_either():
    z, numbers = normal(8, 3), torch.tensor([0, 0, 0, -1, -1, -100, -100, 1])
    reference, latents = ReferenceSet(z, numbers), Latents(z, None, numbers)
    anyone = [reference.random_samples(latents, draws(8, seed), same_class=False) for seed in range(40)]
    for each in anyone:
        assert (each.labels[each.found] >= 0).all()
        assert not each.found[3:7].any()
    assert any((each.labels[:3] == 1)[each.found[:3]].any() for each in anyone)


def test_any_class_is_allowed_when_asked_for_and_without_labels():
    z, labels = normal(60, 2), torch.arange(60) % 4
    classes = ReferenceSet(z, labels).random_samples(Latents(z, None, labels), draws(60), same_class=False).labels
    assert (classes != labels).any()
    assert (classes == labels).any()
    assert ReferenceSet(z).random_samples(Latents(z), draws(60)).found.all()


def test_every_other_sample_of_the_class_is_chosen_sometimes_and_duplicates_do_not_hide_them():
    z, labels = normal(12, 2), torch.arange(12) % 2
    one = Latents(z[:1].expand(600, 2), None, labels[:1].expand(600))
    chosen, counts = ReferenceSet(z, labels).random_samples(one, draws(600))[0].unique(dim=0, return_counts=True)
    assert len(chosen) == 5
    assert counts.min() > 60
    z = torch.tensor([[0.0], [0.0], [1.0], [2.0]])
    target = ReferenceSet(z).random_samples(Latents(z[:1].expand(400, 1)), draws(400)).z
    assert {1.0, 2.0} <= set(target.flatten().tolist())


@pytest.mark.parametrize("k", [1, 5])
def test_neighbours_are_the_k_nearest_and_each_is_chosen_alike(k):
    z, labels = normal(80, 3), torch.arange(80) % 2
    reference = ReferenceSet(z, labels)
    for row in range(0, 80, 11):
        distance = (z - z[row]).norm(dim=1)
        distance[(labels != labels[row]) | (torch.arange(80) == row)] = torch.inf
        nearest = {tuple(v) for v in z[distance.topk(k, largest=False).indices].tolist()}
        many = Latents(z[row].expand(300, 3), None, labels[row].expand(300))
        chosen, counts = reference.neighbours(many, draws(300), k)[0].unique(dim=0, return_counts=True)
        assert {tuple(v) for v in chosen.tolist()} == nearest
        assert counts.min() > 300 / k * 0.6


def test_a_class_smaller_than_k_uses_what_it_has():
    z, labels = torch.tensor([[0.0], [0.1], [0.2], [50.0], [51.0]]), torch.tensor([0, 0, 0, 1, 1])
    target = ReferenceSet(z, labels).neighbours(Latents(z, None, labels), draws(5), k=5).z
    assert (target[:3] < 1).all()
    assert target[3:].flatten().tolist() == [51.0, 50.0]


@BOTH
def test_the_choice_does_not_depend_on_the_batch(how):
    latents = Latents(normal(64, 16), None, torch.arange(64) % 4)
    reference = ReferenceSet(normal(300, 16, seed=1), torch.arange(300) % 4)
    whole = choose(how, reference, latents).z
    for size in (1, 30):
        parts = [
            choose(how, reference, latents.take(rows), SampleRandom(sample_keys(0, 0, rows.numpy())))[0]
            for rows in torch.arange(64).split(size)
        ]
        assert torch.equal(torch.cat(parts), whole)


@BOTH
def test_labels_where_the_reference_set_has_none_or_none_where_it_has_some_are_an_error(how):
    reference = ReferenceSet(normal(4, 2), torch.tensor([0, 0, 2, 2]))
    with pytest.raises(ReferenceSetError, match="pass their labels"):
        choose(how, reference, Latents(normal(2, 2)))
    with pytest.raises(ReferenceSetError, match="fit it on labelled data"):
        choose(how, ReferenceSet(normal(4, 2)), Latents(normal(2, 2), None, torch.tensor([0, 1])))


@BOTH
def test_no_partner_is_found_for_the_only_one_of_its_class_or_of_an_unknown_class(how):
    latents = Latents(normal(5, 2), None, torch.tensor([0, 0, 1, 0, 0]))
    found = choose(how, ReferenceSet.of_batch(latents), latents).found
    assert found.tolist() == [True, True, False, True, True]
    assert not choose(how, ReferenceSet.of_batch(latents), Latents(normal(1, 2), None, torch.tensor([7]))).found.any()
    assert choose(
        how, ReferenceSet.of_batch(latents), Latents(normal(1, 2, seed=1), None, torch.tensor([1]))
    ).found.all()
    same = Latents(torch.ones(3, 2))
    assert not choose(
        how, ReferenceSet.of_batch(same.take(torch.tensor([0]))), same.take(torch.tensor([0]))
    ).found.any()


def test_a_batch_is_a_detached_reference_set():
    latents = Latents(normal(4, 2).requires_grad_(), None, torch.tensor([0, 0, 1, 1]))
    reference = ReferenceSet.of_batch(latents)
    assert not reference.z.requires_grad
    assert reference.to("cpu") is reference
