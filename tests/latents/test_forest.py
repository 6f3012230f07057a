"""`Forest`: candidates for the nearest rows of a large table."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from augmentor.latents.forest import Forest


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@given(count=st.integers(1, 300), width=st.integers(1, 5), seed=st.integers(0, 50))
def test_a_row_is_among_its_own_candidates_and_no_number_is_out_of_range(count, width, seed):
    rows = normal(count, width, seed=seed)
    candidates = Forest(rows).candidates(rows)
    assert (candidates == torch.arange(count)[:, None]).any(1).all()
    assert 0 <= int(candidates.min()) <= int(candidates.max()) <= count
    assert candidates.shape[1] <= 32


def test_every_row_stands_in_one_leaf_of_each_tree():
    forest = Forest(normal(1000, 6))
    for leaves in forest._leaves:
        assert leaves[leaves < 1000].sort().values.tolist() == list(range(1000))


def test_all_but_copies_are_found_and_most_near_neighbours():
    """Of 20,000 rows of 64 dimensions, the hardest case: without any structure."""
    rows = normal(20_000, 64)
    forest, few = Forest(rows), torch.arange(500)
    for noise, share in ((0.03, 0.99), (0.1, 0.95), (0.2, 0.75)):
        near = rows[:500] + noise * normal(500, 64, seed=1)
        assert (forest.candidates(near) == few[:, None]).any(1).float().mean() >= share


def test_equal_rows_do_not_matter():
    candidates = Forest(torch.zeros(500, 3)).candidates(torch.zeros(2, 3))
    assert (candidates < 500).any(1).all()


def test_candidates_do_not_depend_on_the_batch():
    rows = normal(5000, 8)
    forest, latents = Forest(rows), normal(40, 8, seed=1)
    rejected = torch.cat([forest.candidates(latent[None]) for latent in latents])
    assert torch.equal(forest.candidates(latents), rejected)
