"""Whom a sample may be combined with."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from augmentor._internal.random import SampleRandom, sample_keys
from augmentor.exceptions import ReferenceSetError
from augmentor.latents import Latents, ReferenceSet


def draws(count: int, seed: int = 0) -> SampleRandom:
    return SampleRandom(sample_keys(seed, 0, range(count)))


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def choose(how: str, reference: ReferenceSet, latents: Latents, seed: int = 0, **arguments):
    random = draws(len(latents), seed)
    if how == "neighbours":
        return reference.neighbours(latents, random, 5, **arguments)
    return reference.random_samples(latents, random, **arguments)


BOTH = pytest.mark.parametrize("how", ["random_samples", "neighbours"])


@BOTH
@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize("shape", [(2,), (16,), (4, 8, 8)], ids=str)
def test_a_sample_is_never_its_own_partner_while_there_are_others(how, scale, shape):
    z, labels = scale * normal(90, *shape) + scale, torch.arange(90) % 3
    reference = ReferenceSet(z, labels)
    for seed in range(10):
        target, _ = choose(how, reference, Latents(z, None, labels), seed)
        assert ((target - z).flatten(1).abs().amax(1) > 0).all()


@BOTH
def test_a_sample_is_recognised_after_the_rounding_of_another_batch(how):
    z, labels = normal(40, 16), torch.arange(40) % 2
    reference = ReferenceSet(z, labels)
    again = z * (1 + 2e-7) + 1e-7
    for seed in range(20):
        target, _ = choose(how, reference, Latents(again, None, labels), seed)
        assert ((target - z).abs().amax(1) > 1e-3).all()


@BOTH
def test_partners_are_of_the_samples_own_class(how):
    labels = torch.arange(60) % 4
    z = normal(60, 3) + 10 * labels[:, None]
    reference = ReferenceSet(z, labels)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(3))
    target, classes = choose(how, reference, Latents(z[order], None, labels[order]))
    assert torch.equal(classes, labels[order])
    assert torch.equal((target.mean(1) / 10).round().long(), labels[order])


@BOTH
def test_class_numbers_need_not_be_consecutive_and_soft_labels_count_by_their_heaviest(how):
    labels = torch.tensor([7, 2, 7, 2, 7, 2])
    z = normal(6, 2) + labels[:, None] * 10
    reference = ReferenceSet(z, labels, 8)
    soft = torch.full((6, 8), 0.05)
    soft[torch.arange(6), labels] = 0.65
    target, classes = choose(how, reference, Latents(z, None, soft))
    assert torch.equal(classes, labels)
    assert torch.equal((target.mean(1) / 10).round().long(), labels)


@BOTH
def test_any_class_is_allowed_when_asked_for(how):
    z, labels = normal(60, 2), torch.arange(60) % 4
    _, classes = choose(how, ReferenceSet(z, labels), Latents(z, None, labels), same_class=False)
    assert (classes != labels).any()
    assert (classes == labels).any()


@BOTH
def test_an_unlabelled_pool_gives_partners_to_anyone(how):
    z = normal(20, 2)
    reference = ReferenceSet(z)
    for latents in (Latents(z), Latents(z, None, torch.arange(20))):
        target, _ = choose(how, reference, latents)
        assert target.shape == z.shape


def test_every_other_member_of_the_class_is_chosen_sometimes():
    z, labels = normal(12, 2), torch.arange(12) % 2
    reference = ReferenceSet(z, labels)
    one = Latents(z[:1].expand(600, 2), None, labels[:1].expand(600))
    target, _ = reference.random_samples(one, draws(600))
    chosen, counts = target.unique(dim=0, return_counts=True)
    assert len(chosen) == 5
    assert counts.min() > 60


@pytest.mark.parametrize("k", [1, 3, 5])
def test_neighbours_are_the_k_nearest_and_each_is_chosen_alike(k):
    z, labels = normal(80, 3), torch.arange(80) % 2
    reference = ReferenceSet(z, labels)
    for row in range(0, 80, 11):
        distance = (z - z[row]).norm(dim=1)
        distance[(labels != labels[row]) | (torch.arange(80) == row)] = torch.inf
        nearest = {tuple(v) for v in z[distance.topk(k, largest=False).indices].tolist()}
        many = Latents(z[row].expand(300, 3), None, labels[row].expand(300))
        target, _ = reference.neighbours(many, draws(300), k)
        chosen, counts = target.unique(dim=0, return_counts=True)
        assert {tuple(v) for v in chosen.tolist()} == nearest
        assert counts.min() > 300 / k * 0.6


def test_neighbours_of_a_sample_outside_the_pool_include_the_nearest():
    reference = ReferenceSet(torch.tensor([[0.0], [1.0], [5.0]]))
    target, _ = reference.neighbours(Latents(torch.full((200, 1), 0.4)), draws(200), 2)
    assert set(target.flatten().tolist()) == {0.0, 1.0}


def test_a_class_smaller_than_k_uses_what_it_has():
    z = torch.tensor([[0.0], [0.1], [0.2], [50.0], [51.0]])
    labels = torch.tensor([0, 0, 0, 1, 1])
    reference = ReferenceSet(z, labels)
    target, _ = reference.neighbours(Latents(z, None, labels), draws(5), k=5)
    assert (target[:3] < 1).all()
    assert target[3:].flatten().tolist() == [51.0, 50.0]


@BOTH
def test_the_choice_does_not_depend_on_the_batch(how):
    z, labels = normal(64, 16), torch.arange(64) % 4
    reference = ReferenceSet(normal(300, 16, seed=1), torch.arange(300) % 4)
    whole, _ = choose(how, reference, Latents(z, None, labels))
    for size in (1, 7, 30):
        rows = []
        for start in range(0, 64, size):
            part = slice(start, min(start + size, 64))
            random = SampleRandom(sample_keys(0, 0, range(part.start, part.stop)))
            latents = Latents(z[part], None, labels[part])
            rows.append(
                reference.neighbours(latents, random, 5)[0]
                if how == "neighbours"
                else reference.random_samples(latents, random)[0]
            )
        assert torch.equal(torch.cat(rows), whole)


@BOTH
def test_a_class_that_the_pool_lacks_is_an_error(how):
    reference = ReferenceSet(normal(4, 2), torch.tensor([0, 0, 2, 2]))
    with pytest.raises(ReferenceSetError, match=r"no sample of class 1; it has classes \[0, 2\]"):
        choose(how, reference, Latents(normal(2, 2), None, torch.tensor([0, 1])))


@BOTH
def test_unlabelled_samples_and_a_labelled_pool_are_an_error(how):
    reference = ReferenceSet(normal(4, 2), torch.tensor([0, 0, 1, 1]))
    with pytest.raises(ReferenceSetError, match="the samples are not; pass their labels"):
        choose(how, reference, Latents(normal(2, 2)))


@BOTH
def test_the_only_one_of_its_class_in_a_batch_stays_where_it_is(how):
    latents = Latents(normal(5, 2), None, torch.tensor([0, 0, 1, 0, 0]))
    target, _ = choose(how, ReferenceSet.of_batch(latents), latents)
    assert torch.equal(target[2], latents.z[2])


def test_a_batch_of_one_is_no_pool():
    with pytest.raises(ReferenceSetError, match="batch of one and no reference set"):
        ReferenceSet.of_batch(Latents(normal(1, 2)))


def test_require_names_the_class_that_is_too_small():
    reference = ReferenceSet(normal(5, 2), torch.tensor([0, 0, 3, 0, 0]))
    assert reference.class_counts() == {0: 4, 3: 1}
    reference.require(1, "smote")
    with pytest.raises(ReferenceSetError, match="smote needs 2 samples of each class, and class 3 has 1"):
        reference.require(2, "smote")


def test_the_pool_is_a_copy_detached_from_the_batch():
    z = normal(4, 2).requires_grad_()
    reference = ReferenceSet.of_batch(Latents(z, None, torch.tensor([0, 0, 1, 1])))
    assert not reference.z.requires_grad
    assert reference.to("cpu") is reference


def test_duplicates_do_not_hide_the_others():
    z = torch.tensor([[0.0], [0.0], [1.0], [2.0]])
    target, _ = ReferenceSet(z).random_samples(Latents(z[:1].expand(400, 1)), draws(400))
    assert {1.0, 2.0} <= set(target.flatten().tolist())


def brute_force(reference: ReferenceSet, z: torch.Tensor, classes: torch.Tensor | None) -> torch.Tensor:
    """All distances, ascending, in float64."""
    gaps = z.double().flatten(1)[:, None] - reference.z.double().flatten(1)
    distance = gaps.square().mean(2).sqrt()
    if classes is not None:
        distance[classes[:, None] != reference.labels] = torch.inf
    return distance.sort(1).values


@settings(deadline=None, max_examples=60)
@given(
    count=st.integers(1, 60),
    width=st.integers(1, 20),
    k=st.integers(1, 12),
    classes=st.integers(0, 5),
    offset=st.sampled_from([0.0, 3.0, 1e3]),
    doubled=st.booleans(),
    seed=st.integers(0, 9),
)
def test_nearest_is_what_brute_force_finds(count, width, k, classes, offset, doubled, seed):
    z, queries = normal(count, width, seed=seed) + offset, normal(9, width, seed=seed + 100) + offset
    z = z.repeat(2, 1) if doubled else z
    queries[:3] = z[torch.arange(3) % len(z)]
    labels = torch.arange(len(z)) % classes if classes else None
    reference = ReferenceSet(z, labels)
    wanted = torch.arange(9) % (classes + 1) if classes else None  # the last class is missing
    distance, rows = reference.nearest(queries, k, wanted)
    k = min(k, len(reference))
    assert distance.shape == rows.shape == (9, k)
    expected = brute_force(reference, queries, wanted)[:, :k]
    torch.testing.assert_close(distance.double(), expected, atol=1e-4, rtol=1e-4)
    assert (distance[:3, 0][expected[:3, 0].isfinite()] < 1e-3).all() or classes
    for query, row in zip(queries, rows, strict=True):
        assert len(row.unique()) == k
        assert query.shape == (width,)
    found = (queries.double()[:, None] - reference.z.double()[rows]).square().mean(2).sqrt()
    there = distance.isfinite()
    torch.testing.assert_close(found[there], distance[there].double(), atol=1e-4, rtol=1e-4)
    if classes:
        assert torch.equal(reference.labels[rows][there], wanted[:, None].expand(9, k)[there])


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e4])
def test_nearest_is_exact_among_many_far_from_zero(offset):
    reference, queries = ReferenceSet(normal(4000, 16) + offset), normal(50, 16, seed=1) + offset
    distance, _ = reference.nearest(queries, 3)
    torch.testing.assert_close(distance.double(), brute_force(reference, queries, None)[:, :3], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(16,), (3, 4, 4)], ids=str)
def test_nearest_does_not_depend_on_how_the_batch_is_split(shape, monkeypatch):
    z, labels = normal(200, *shape).repeat(2, *(1 for _ in shape)), torch.arange(400) % 3
    reference, queries, classes = ReferenceSet(z, labels), normal(60, *shape, seed=1), torch.arange(60) % 3
    queries[::4] = z[:15]
    whole = reference.nearest(queries, 4, classes)
    for size in (1, 7):
        parts = [
            reference.nearest(part, 4, some)
            for part, some in zip(queries.split(size), classes.split(size), strict=True)
        ]
        for at, expected in enumerate(whole):
            assert torch.equal(torch.cat([part[at] for part in parts]), expected)
    monkeypatch.setattr("augmentor.latents.reference._TABLE", 900)
    assert torch.equal(reference.nearest(queries, 4, classes)[1], whole[1])


def test_equals_come_in_the_order_of_rows():
    reference = ReferenceSet(torch.zeros(30, 2))
    assert reference.nearest(torch.zeros(2, 2), 30)[1].tolist() == [list(range(30))] * 2


def test_nearest_of_nothing_is_nothing():
    distance, rows = ReferenceSet(normal(9, 2)).nearest(torch.zeros(0, 2), 3, torch.zeros(0, dtype=torch.int64))
    assert distance.shape == rows.shape == (0, 3)


def test_the_classifier_is_fitted_once_and_only_where_there_are_classes():
    reference = ReferenceSet(normal(20, 3), torch.arange(20) % 2)
    assert reference.classifier is reference.classifier
    assert ReferenceSet(normal(20, 3)).classifier is None
    assert ReferenceSet(normal(20, 3), torch.zeros(20)).classifier is None
    moved = reference.to("meta")
    assert moved.classifier.folds.device.type == "meta"


def test_nearest_in_a_large_pool_is_what_brute_force_finds(monkeypatch):
    monkeypatch.setattr("augmentor.latents.reference._LARGE", 100)
    for count in (101, 2048, 5003):
        reference, queries = ReferenceSet(normal(count, 6).repeat(2, 1)), normal(20, 6, seed=1)
        distance, rows = reference.nearest(queries, 7)
        torch.testing.assert_close(
            distance.double(), brute_force(reference, queries, None)[:, :7], atol=1e-5, rtol=1e-5
        )
        assert all(len(row.unique()) == 7 for row in rows)


def test_the_pool_s_own_samples_are_searched_once(monkeypatch):
    z, labels = normal(300, 4), torch.arange(300) % 3
    reference, fresh = ReferenceSet(z, labels), ReferenceSet(z, labels, fitted=False)
    batch = Latents(torch.cat([z[:40] + 1e-6, normal(5, 4, seed=9)]), None, torch.arange(45) % 3)
    expected = fresh.neighbours(batch, draws(45), 5)
    assert torch.equal(reference.neighbours(batch, draws(45), 5)[0], expected[0])
    searched, nearest = [], reference.nearest
    monkeypatch.setattr(reference, "nearest", lambda z, *a: searched.append(len(z)) or nearest(z, *a))
    assert torch.equal(reference.neighbours(batch, draws(45), 5)[0], expected[0])
    assert searched == [5]  # those that are not of the reference set
    other = Latents(z[:6], None, (torch.arange(6) + 1) % 3)  # its samples under other labels are others
    assert torch.equal(reference.neighbours(other, draws(6), 5)[0], fresh.neighbours(other, draws(6), 5)[0])


def test_the_origin_of_a_sample_is_its_row_or_the_nearest():
    reference = ReferenceSet(normal(500, 4))
    queries = torch.cat([reference.z[::7] + 1e-6, normal(9, 4, seed=3)])
    assert torch.equal(reference.origin(queries), reference.nearest(queries, 1)[1].squeeze(1))


def test_nearby_in_a_large_pool_finds_copies_and_is_a_bound_from_above():
    reference = ReferenceSet(normal(17_000, 16))
    queries = torch.cat([reference.z[:300] + 0.02 * normal(300, 16, seed=1), normal(300, 16, seed=2)])
    distance, rows = reference.nearby(queries, 4)
    exact, nearest = reference.nearest(queries, 4)
    assert (rows[:300, 0] == nearest[:300, 0]).float().mean() >= 0.99
    assert (distance >= exact - 1e-6).all()
    measured = (queries[:, None] - reference.z[rows]).square().mean(2).sqrt()
    torch.testing.assert_close(distance, measured)
    assert all(len(row.unique()) == 4 for row in rows)


def test_nearby_looks_at_the_origin_in_any_case():
    reference = ReferenceSet(normal(17_000, 16))
    moved = reference.z[:200] + 0.6 * normal(200, 16, seed=1)
    distance, _ = reference.nearby(moved, 1, torch.arange(200))
    assert (distance[:, 0] <= (moved - reference.z[:200]).square().mean(1).sqrt() + 1e-6).all()


def test_nearby_in_a_small_pool_is_exact():
    reference, queries = ReferenceSet(normal(500, 4)), normal(30, 4, seed=1)
    for found, exact in zip(reference.nearby(queries, 3), reference.nearest(queries, 3), strict=True):
        assert torch.equal(found, exact)
