"""Statistics of latents, and the paths between them."""

from __future__ import annotations

import pytest
import torch

from augmentor.exceptions import InputError, ShapeError
from augmentor.latents import LatentStats, class_index, lerp, slerp, soft_labels

SHAPES = {"vector": ((4,), (4,)), "feature map": ((3, None, None), (3, 5, 6))}


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("stated", "shape"), SHAPES.values(), ids=SHAPES)
def test_fitted_latents_have_mean_0_and_std_1(stated, shape):
    raw = normal(200, *shape) * 3 + torch.arange(shape[0]).reshape(-1, *(1 for _ in shape[1:]))
    stats = LatentStats(stated).fit([raw[:70], raw[70:]])
    z = stats.standardise(raw).transpose(0, 1).flatten(1)
    torch.testing.assert_close(z.mean(1), torch.zeros(shape[0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.std(1, correction=0), torch.ones(shape[0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(stats.unstandardise(stats.standardise(raw)), raw)
    assert bool(stats.fitted)
    torch.testing.assert_close(LatentStats(stated).fit([raw]).std, stats.std)  # however it is cut into batches


def test_unfitted_statistics_change_nothing():
    stats = LatentStats((4,))
    raw = normal(3, 4)
    assert not stats.fitted
    assert torch.equal(stats.standardise(raw), raw)
    assert torch.equal(stats.unstandardise(raw), raw)


def test_a_dimension_that_never_moves_stays_finite_and_a_large_offset_does_not_drown_the_std():
    raw = normal(500, 3) * torch.tensor([1.0, 0.0, 0.1]) + torch.tensor([0.0, 0.7, 1000.0])
    stats = LatentStats((3,)).fit([raw])
    z = stats.standardise(raw)
    assert z.isfinite().all()
    assert z[:, 1].abs().max() < 1
    torch.testing.assert_close(stats.unstandardise(z), raw)
    torch.testing.assert_close(stats.std[2], raw[:, 2].double().std(correction=0).float(), rtol=1e-2, atol=0)


def test_latents_that_do_not_fit_and_no_latents_are_refused():
    for batches in ([torch.zeros(2, 5)], [torch.zeros(2, 4, 1, 1)], []):
        with pytest.raises(ShapeError, match="expected"):
            LatentStats((4,)).fit(batches)


@pytest.mark.parametrize(("path", "shape"), [(lerp, (2, 3, 3)), (slerp, (4,)), (slerp, (2, 3, 3))])
def test_paths_start_at_a_and_end_at_b(path, shape):
    a, b = normal(6, *shape), normal(6, *shape, seed=1)
    torch.testing.assert_close(path(a, b, torch.zeros(6)), a)
    torch.testing.assert_close(path(a, b, torch.ones(6)), b, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("factor", [0.0, 1.0, 2.0, -1.0, 1.0 + 1e-7])
def test_slerp_of_parallel_vectors_is_straight_and_finite_also_of_zeros(factor):
    b, weight = normal(3, 5), torch.full((3,), 0.3)
    a = (factor * b).requires_grad_()
    out = slerp(a, b, weight)
    out.sum().backward()
    assert out.isfinite().all()
    assert a.grad.isfinite().all()
    if factor:
        torch.testing.assert_close(out, a + 0.3 * (b - a))
        torch.testing.assert_close(lerp(a, b, weight), a + 0.3 * (b - a))


def test_labels_turn_soft_and_back_and_those_beyond_the_classes_are_refused():
    soft = soft_labels(torch.tensor([2, 0]), 3)
    assert soft.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert soft.dtype == torch.float32
    assert class_index(soft).tolist() == [2, 0]
    assert class_index(torch.tensor([2, 0]).int()).dtype == torch.int64
    assert torch.equal(soft_labels(soft, 3), soft)
    assert soft_labels(torch.tensor([-1, 1, -100]), 3).tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    with pytest.raises(InputError, match="for 3 classes"):
        soft_labels(torch.tensor([0, 3]), 3)
