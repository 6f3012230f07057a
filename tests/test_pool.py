"""Whom a sample may be combined with."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from augmentor._internal.random import SampleRandom, sample_keys
from augmentor.exceptions import PartnerError
from augmentor.latents import LatentPool, Latents


def draws(count: int, seed: int = 0) -> SampleRandom:
    return SampleRandom(sample_keys(seed, 0, range(count)))


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def choose(how: str, pool: LatentPool, latents: Latents, seed: int = 0, **arguments):
    random = draws(len(latents), seed)
    if how == "neighbours":
        return pool.neighbours(latents, random, 5, **arguments)
    return pool.partners(latents, random, **arguments)


BOTH = pytest.mark.parametrize("how", ["partners", "neighbours"])


@BOTH
@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize("shape", [(2,), (16,), (4, 8, 8)], ids=str)
def test_a_sample_is_never_its_own_partner_while_there_are_others(how, scale, shape):
    z, labels = scale * normal(90, *shape) + scale, torch.arange(90) % 3
    pool = LatentPool(z, labels)
    for seed in range(10):
        partner, _ = choose(how, pool, Latents(z, None, labels), seed)
        assert ((partner - z).flatten(1).abs().amax(1) > 0).all()


@BOTH
def test_a_sample_is_recognised_after_the_rounding_of_another_batch(how):
    z, labels = normal(40, 16), torch.arange(40) % 2
    pool = LatentPool(z, labels)
    again = z * (1 + 2e-7) + 1e-7
    for seed in range(20):
        partner, _ = choose(how, pool, Latents(again, None, labels), seed)
        assert ((partner - z).abs().amax(1) > 1e-3).all()


@BOTH
def test_partners_are_of_the_samples_own_class(how):
    labels = torch.arange(60) % 4
    z = normal(60, 3) + 10 * labels[:, None]
    pool = LatentPool(z, labels)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(3))
    partner, classes = choose(how, pool, Latents(z[order], None, labels[order]))
    assert torch.equal(classes, labels[order])
    assert torch.equal((partner.mean(1) / 10).round().long(), labels[order])


@BOTH
def test_class_numbers_need_not_be_consecutive_and_soft_labels_count_by_their_heaviest(how):
    labels = torch.tensor([7, 2, 7, 2, 7, 2])
    z = normal(6, 2) + labels[:, None] * 10
    pool = LatentPool(z, labels, 8)
    soft = torch.full((6, 8), 0.05)
    soft[torch.arange(6), labels] = 0.65
    partner, classes = choose(how, pool, Latents(z, None, soft))
    assert torch.equal(classes, labels)
    assert torch.equal((partner.mean(1) / 10).round().long(), labels)


@BOTH
def test_any_class_is_allowed_when_asked_for(how):
    z, labels = normal(60, 2), torch.arange(60) % 4
    _, classes = choose(how, LatentPool(z, labels), Latents(z, None, labels), same_class=False)
    assert (classes != labels).any()
    assert (classes == labels).any()


@BOTH
def test_an_unlabelled_pool_gives_partners_to_anyone(how):
    z = normal(20, 2)
    pool = LatentPool(z)
    for latents in (Latents(z), Latents(z, None, torch.arange(20))):
        partner, _ = choose(how, pool, latents)
        assert partner.shape == z.shape


def test_every_other_member_of_the_class_is_chosen_sometimes():
    z, labels = normal(12, 2), torch.arange(12) % 2
    pool = LatentPool(z, labels)
    one = Latents(z[:1].expand(600, 2), None, labels[:1].expand(600))
    partner, _ = pool.partners(one, draws(600))
    chosen, counts = partner.unique(dim=0, return_counts=True)
    assert len(chosen) == 5
    assert counts.min() > 60


@pytest.mark.parametrize("k", [1, 3, 5])
def test_neighbours_are_the_k_nearest_and_each_is_chosen_alike(k):
    z, labels = normal(80, 3), torch.arange(80) % 2
    pool = LatentPool(z, labels)
    for row in range(0, 80, 11):
        distance = (z - z[row]).norm(dim=1)
        distance[(labels != labels[row]) | (torch.arange(80) == row)] = torch.inf
        nearest = {tuple(v) for v in z[distance.topk(k, largest=False).indices].tolist()}
        many = Latents(z[row].expand(300, 3), None, labels[row].expand(300))
        partner, _ = pool.neighbours(many, draws(300), k)
        chosen, counts = partner.unique(dim=0, return_counts=True)
        assert {tuple(v) for v in chosen.tolist()} == nearest
        assert counts.min() > 300 / k * 0.6


def test_neighbours_of_a_sample_outside_the_pool_include_the_nearest():
    pool = LatentPool(torch.tensor([[0.0], [1.0], [5.0]]))
    partner, _ = pool.neighbours(Latents(torch.full((200, 1), 0.4)), draws(200), 2)
    assert set(partner.flatten().tolist()) == {0.0, 1.0}


def test_a_class_smaller_than_k_uses_what_it_has():
    z = torch.tensor([[0.0], [0.1], [0.2], [50.0], [51.0]])
    labels = torch.tensor([0, 0, 0, 1, 1])
    pool = LatentPool(z, labels)
    partner, _ = pool.neighbours(Latents(z, None, labels), draws(5), k=5)
    assert (partner[:3] < 1).all()
    assert partner[3:].flatten().tolist() == [51.0, 50.0]


@BOTH
def test_the_choice_does_not_depend_on_the_batch(how):
    z, labels = normal(64, 16), torch.arange(64) % 4
    pool = LatentPool(normal(300, 16, seed=1), torch.arange(300) % 4)
    whole, _ = choose(how, pool, Latents(z, None, labels))
    for size in (1, 7, 30):
        rows = []
        for start in range(0, 64, size):
            part = slice(start, min(start + size, 64))
            random = SampleRandom(sample_keys(0, 0, range(part.start, part.stop)))
            latents = Latents(z[part], None, labels[part])
            rows.append(
                pool.neighbours(latents, random, 5)[0] if how == "neighbours" else pool.partners(latents, random)[0]
            )
        assert torch.equal(torch.cat(rows), whole)


@BOTH
def test_a_class_that_the_pool_lacks_is_an_error(how):
    pool = LatentPool(normal(4, 2), torch.tensor([0, 0, 2, 2]))
    with pytest.raises(PartnerError, match=r"no sample of class 1; it has classes \[0, 2\]"):
        choose(how, pool, Latents(normal(2, 2), None, torch.tensor([0, 1])))


@BOTH
def test_unlabelled_samples_and_a_labelled_pool_are_an_error(how):
    pool = LatentPool(normal(4, 2), torch.tensor([0, 0, 1, 1]))
    with pytest.raises(PartnerError, match="the samples are not; pass their labels"):
        choose(how, pool, Latents(normal(2, 2)))


@BOTH
def test_the_only_one_of_its_class_in_a_batch_stays_where_it_is(how):
    latents = Latents(normal(5, 2), None, torch.tensor([0, 0, 1, 0, 0]))
    partner, _ = choose(how, LatentPool.of_batch(latents), latents)
    assert torch.equal(partner[2], latents.z[2])


def test_a_batch_of_one_is_no_pool():
    with pytest.raises(PartnerError, match="batch of one and no pool"):
        LatentPool.of_batch(Latents(normal(1, 2)))


def test_require_names_the_class_that_is_too_small():
    pool = LatentPool(normal(5, 2), torch.tensor([0, 0, 3, 0, 0]))
    assert pool.class_counts() == {0: 4, 3: 1}
    pool.require(1, "smote")
    with pytest.raises(PartnerError, match="smote needs 2 samples of each class, and class 3 has 1"):
        pool.require(2, "smote")


def test_the_pool_is_a_copy_detached_from_the_batch():
    z = normal(4, 2).requires_grad_()
    pool = LatentPool.of_batch(Latents(z, None, torch.tensor([0, 0, 1, 1])))
    assert not pool.z.requires_grad
    assert pool.to("cpu") is pool


def test_duplicates_do_not_hide_the_others():
    z = torch.tensor([[0.0], [0.0], [1.0], [2.0]])
    partner, _ = LatentPool(z).partners(Latents(z[:1].expand(400, 1)), draws(400))
    assert {1.0, 2.0} <= set(partner.flatten().tolist())


def brute_force(pool: LatentPool, z: torch.Tensor, classes: torch.Tensor | None) -> torch.Tensor:
    """All distances, ascending, in float64."""
    gaps = z.double().flatten(1)[:, None] - pool.z.double().flatten(1)
    distance = gaps.square().mean(2).sqrt()
    if classes is not None:
        distance[classes[:, None] != pool.labels] = torch.inf
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
    pool = LatentPool(z, labels)
    wanted = torch.arange(9) % (classes + 1) if classes else None  # the last class is missing
    distance, rows = pool.nearest(queries, k, wanted)
    k = min(k, len(pool))
    assert distance.shape == rows.shape == (9, k)
    expected = brute_force(pool, queries, wanted)[:, :k]
    torch.testing.assert_close(distance.double(), expected, atol=1e-4, rtol=1e-4)
    assert (distance[:3, 0][expected[:3, 0].isfinite()] < 1e-3).all() or classes
    for query, row in zip(queries, rows, strict=True):
        assert len(row.unique()) == k
        assert query.shape == (width,)
    found = (queries.double()[:, None] - pool.z.double()[rows]).square().mean(2).sqrt()
    there = distance.isfinite()
    torch.testing.assert_close(found[there], distance[there].double(), atol=1e-4, rtol=1e-4)
    if classes:
        assert torch.equal(pool.labels[rows][there], wanted[:, None].expand(9, k)[there])


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e4])
def test_nearest_is_exact_among_many_far_from_zero(offset):
    pool, queries = LatentPool(normal(4000, 16) + offset), normal(50, 16, seed=1) + offset
    distance, _ = pool.nearest(queries, 3)
    torch.testing.assert_close(distance.double(), brute_force(pool, queries, None)[:, :3], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(16,), (3, 4, 4)], ids=str)
def test_nearest_does_not_depend_on_how_the_batch_is_split(shape, monkeypatch):
    z, labels = normal(200, *shape).repeat(2, *(1 for _ in shape)), torch.arange(400) % 3
    pool, queries, classes = LatentPool(z, labels), normal(60, *shape, seed=1), torch.arange(60) % 3
    queries[::4] = z[:15]
    whole = pool.nearest(queries, 4, classes)
    for size in (1, 7):
        parts = [
            pool.nearest(part, 4, some) for part, some in zip(queries.split(size), classes.split(size), strict=True)
        ]
        for at, expected in enumerate(whole):
            assert torch.equal(torch.cat([part[at] for part in parts]), expected)
    monkeypatch.setattr("augmentor.latents.reference._TABLE", 900)
    assert torch.equal(pool.nearest(queries, 4, classes)[1], whole[1])


def test_equals_come_in_the_order_of_rows():
    pool = LatentPool(torch.zeros(30, 2))
    assert pool.nearest(torch.zeros(2, 2), 30)[1].tolist() == [list(range(30))] * 2


def test_nearest_of_nothing_is_nothing():
    distance, rows = LatentPool(normal(9, 2)).nearest(torch.zeros(0, 2), 3, torch.zeros(0, dtype=torch.int64))
    assert distance.shape == rows.shape == (0, 3)


def test_the_classifier_is_fitted_once_and_only_where_there_are_classes():
    pool = LatentPool(normal(20, 3), torch.arange(20) % 2)
    assert pool.classifier is pool.classifier
    assert LatentPool(normal(20, 3)).classifier is None
    assert LatentPool(normal(20, 3), torch.zeros(20)).classifier is None
    moved = pool.to("meta")
    assert moved.classifier.folds.device.type == "meta"


def test_nearest_in_a_large_pool_is_what_brute_force_finds(monkeypatch):
    monkeypatch.setattr("augmentor.latents.reference._LARGE", 100)
    for count in (101, 2048, 5003):
        pool, queries = LatentPool(normal(count, 6).repeat(2, 1)), normal(20, 6, seed=1)
        distance, rows = pool.nearest(queries, 7)
        torch.testing.assert_close(distance.double(), brute_force(pool, queries, None)[:, :7], atol=1e-5, rtol=1e-5)
        assert all(len(row.unique()) == 7 for row in rows)


def test_the_pool_s_own_samples_are_searched_once(monkeypatch):
    z, labels = normal(300, 4), torch.arange(300) % 3
    pool, fresh = LatentPool(z, labels), LatentPool(z, labels, fitted=False)
    batch = Latents(torch.cat([z[:40] + 1e-6, normal(5, 4, seed=9)]), None, torch.arange(45) % 3)
    expected = fresh.neighbours(batch, draws(45), 5)
    assert torch.equal(pool.neighbours(batch, draws(45), 5)[0], expected[0])
    searched, nearest = [], pool.nearest
    monkeypatch.setattr(pool, "nearest", lambda z, *a: searched.append(len(z)) or nearest(z, *a))
    assert torch.equal(pool.neighbours(batch, draws(45), 5)[0], expected[0])
    assert searched == [5]  # those that are not of the pool
    other = Latents(z[:6], None, (torch.arange(6) + 1) % 3)  # its samples under other labels are others
    assert torch.equal(pool.neighbours(other, draws(6), 5)[0], fresh.neighbours(other, draws(6), 5)[0])


def test_the_origin_of_a_sample_is_its_row_or_the_nearest():
    pool = LatentPool(normal(500, 4))
    queries = torch.cat([pool.z[::7] + 1e-6, normal(9, 4, seed=3)])
    assert torch.equal(pool.origin(queries), pool.nearest(queries, 1)[1].squeeze(1))


def test_nearby_in_a_large_pool_finds_copies_and_is_a_bound_from_above():
    pool = LatentPool(normal(17_000, 16))
    queries = torch.cat([pool.z[:300] + 0.02 * normal(300, 16, seed=1), normal(300, 16, seed=2)])
    distance, rows = pool.nearby(queries, 4)
    exact, nearest = pool.nearest(queries, 4)
    assert (rows[:300, 0] == nearest[:300, 0]).float().mean() >= 0.99
    assert (distance >= exact - 1e-6).all()
    measured = (queries[:, None] - pool.z[rows]).square().mean(2).sqrt()
    torch.testing.assert_close(distance, measured)
    assert all(len(row.unique()) == 4 for row in rows)


def test_nearby_looks_at_the_origin_in_any_case():
    pool = LatentPool(normal(17_000, 16))
    moved = pool.z[:200] + 0.6 * normal(200, 16, seed=1)
    distance, _ = pool.nearby(moved, 1, torch.arange(200))
    assert (distance[:, 0] <= (moved - pool.z[:200]).square().mean(1).sqrt() + 1e-6).all()


def test_nearby_in_a_small_pool_is_exact():
    pool, queries = LatentPool(normal(500, 4)), normal(30, 4, seed=1)
    for found, exact in zip(pool.nearby(queries, 3), pool.nearest(queries, 3), strict=True):
        assert torch.equal(found, exact)
