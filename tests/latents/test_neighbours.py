"""The search for neighbours among reference samples: exact, among candidates, or looked up."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from augmentor._internal.random import SampleRandom, sample_keys
from augmentor.latents import Latents, ReferenceSet
from augmentor.latents.neighbours import Neighbours


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def measured(reference: ReferenceSet, z: torch.Tensor) -> torch.Tensor:
    """All distances (B, N) in float64."""
    gaps = z.double().flatten(1)[:, None] - reference.z.double().flatten(1)
    return gaps.square().mean(2).sqrt()


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
    reference = ReferenceSet(z, torch.arange(len(z)) % classes if classes else None)
    wanted = torch.arange(9) % (classes + 1) if classes else None  # the last class is missing
    distance, rows = reference.nearest(queries, k, wanted)
    every = measured(reference, queries)
    of_class = every if wanted is None else every.masked_fill(wanted[:, None] != reference.labels, torch.inf)
    k = min(k, len(reference))
    assert distance.shape == rows.shape == (9, k)
    torch.testing.assert_close(distance.double(), of_class.sort(1).values[:, :k], atol=1e-4, rtol=1e-4)
    assert all(len(row.unique()) == k for row in rows)
    there = distance.isfinite()
    torch.testing.assert_close(of_class.gather(1, rows)[there], distance[there].double(), atol=1e-4, rtol=1e-4)


def test_nearest_is_exact_among_many_far_from_zero():
    reference, queries = ReferenceSet(normal(5000, 8).repeat(2, 1) + 1e4), normal(50, 8, seed=1) + 1e4
    distance, rows = reference.nearest(queries, 7)
    expected = measured(reference, queries).sort(1).values[:, :7]
    torch.testing.assert_close(distance.double(), expected, atol=1e-5, rtol=1e-5)
    assert all(len(row.unique()) == 7 for row in rows)


@pytest.mark.parametrize("shape", [(16,), (3, 4, 4)], ids=str)
def test_nearest_does_not_depend_on_how_the_batch_is_split(shape):
    z, labels = normal(200, *shape).repeat(2, *(1 for _ in shape)), torch.arange(400) % 3
    reference, queries, classes = ReferenceSet(z, labels), normal(60, *shape, seed=1), torch.arange(60) % 3
    queries[::4] = z[:15]
    whole = reference.nearest(queries, 4, classes)
    parts = [reference.nearest(part, 4, some) for part, some in zip(queries.split(7), classes.split(7), strict=True)]
    many = reference.nearest(queries.repeat(1000, *(1 for _ in shape)), 4, classes.repeat(1000))
    for at, expected in enumerate(whole):
        assert torch.equal(torch.cat([part[at] for part in parts]), expected)
        assert torch.equal(many[at][-60:], expected)


def test_equals_come_in_the_order_of_rows_and_nothing_has_no_neighbours():
    reference = ReferenceSet(torch.zeros(30, 2))
    assert reference.nearest(torch.zeros(2, 2), 30)[1].tolist() == [list(range(30))] * 2
    distance, rows = reference.nearest(torch.zeros(0, 2), 3, torch.zeros(0, dtype=torch.int64))
    assert distance.shape == rows.shape == (0, 3)


def test_samples_of_the_reference_set_are_searched_for_once(monkeypatch):
    z, labels = normal(300, 4), torch.arange(300) % 3
    reference, fresh = ReferenceSet(z, labels), ReferenceSet(z, labels, fitted=False)
    batch = Latents(torch.cat([z[:40] + 1e-6, normal(5, 4, seed=9)]), None, torch.arange(45) % 3)
    random = SampleRandom(sample_keys(0, 0, range(45)))
    expected = fresh.neighbours(batch, random.take(range(45)), 5)[0]
    assert torch.equal(reference.neighbours(batch, random.take(range(45)), 5)[0], expected)
    searched, nearest = [], Neighbours.nearest
    with monkeypatch.context() as patch:
        patch.setattr(Neighbours, "nearest", lambda self, z, *a: searched.append(len(z)) or nearest(self, z, *a))
        assert torch.equal(reference.neighbours(batch, random.take(range(45)), 5)[0], expected)
    assert searched == [5]  # those that are not of the reference set
    other = Latents(z[:6], None, (torch.arange(6) + 1) % 3)  # its samples under other labels are others
    found = [each.neighbours(other, random.take(range(6)), 5)[0] for each in (reference, fresh)]
    assert torch.equal(*found)


def test_nearby_in_a_large_reference_set_finds_copies_and_the_origin_and_is_a_bound_from_above():
    reference = ReferenceSet(normal(17_000, 16))
    queries = torch.cat([reference.z[:300] + 0.02 * normal(300, 16, seed=1), normal(300, 16, seed=2)])
    distance, rows = reference.nearby(queries, 4)
    exact, nearest = reference.nearest(queries, 4)
    assert (rows[:300, 0] == nearest[:300, 0]).float().mean() >= 0.99
    assert (distance >= exact - 1e-6).all()
    torch.testing.assert_close(distance, (queries[:, None] - reference.z[rows]).square().mean(2).sqrt())
    assert all(len(row.unique()) == 4 for row in rows)
    moved = reference.z[:200] + 0.6 * normal(200, 16, seed=1)
    distance, _ = reference.nearby(moved, 1, torch.arange(200))
    assert (distance[:, 0] <= (moved - reference.z[:200]).square().mean(1).sqrt() + 1e-6).all()


def test_nearby_in_a_small_reference_set_is_exact_and_the_origin_is_the_nearest():
    reference = ReferenceSet(normal(500, 4))
    queries = torch.cat([reference.z[::7] + 1e-6, normal(30, 4, seed=1)])
    exact = reference.nearest(queries, 3)
    assert all(map(torch.equal, reference.nearby(queries, 3), exact))
    assert torch.equal(reference.origin(queries), exact[1][:, 0])
