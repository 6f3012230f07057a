"""`reconstruction_psnr`: known values, one figure whatever the batches, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader

from augmentor.data import ArrayDataset
from augmentor.exceptions import DataError, ShapeError
from augmentor.quality import reconstruction_psnr


def pictures(count: int = 10) -> ArrayDataset:
    generator = torch.Generator().manual_seed(0)
    return ArrayDataset(torch.randint(0, 256, (count, 1, 8, 8), dtype=torch.uint8, generator=generator))


@pytest.mark.parametrize(("error", "decibels"), [(0.1, 20.0), (1.0, 0.0), (0.0, 100.0)])
def test_a_constant_error_has_a_known_figure(error, decibels):
    assert reconstruction_psnr(lambda images: images + error, pictures()) == pytest.approx(decibels, abs=1e-3)


def test_it_is_the_mean_over_images_not_over_pixels():
    data = ArrayDataset(torch.tensor([0, 255], dtype=torch.uint8)[:, None, None, None].expand(2, 1, 8, 8).contiguous())

    def off(images):  # black images off by 0.1, white ones by 0.01
        return torch.where(images == 0, images + 0.1, images - 0.01)

    assert reconstruction_psnr(off, data) == pytest.approx((20 + 40) / 2, abs=1e-3)


def test_the_batch_size_does_not_matter(vae, digits):
    some = digits.subset(torch.arange(10))
    expected = reconstruction_psnr(vae, some)
    assert type(expected) is float
    assert 8 < expected < 30
    assert reconstruction_psnr(vae, some, 3) == pytest.approx(expected, rel=1e-5)
    assert reconstruction_psnr(vae, DataLoader(some, 4)) == pytest.approx(expected, rel=1e-5)


def test_better_autoencoders_have_higher_figures(vae, digits):
    some = digits.subset(torch.arange(100))
    untrained = type(vae)((1, 8, 8), latent_dim=8, width=8)
    assert reconstruction_psnr(vae, some) > reconstruction_psnr(untrained, some) + 3


def test_what_it_cannot_measure_is_refused(vae, digits):
    with pytest.raises(DataError, match="empty"):
        reconstruction_psnr(vae, [])
    with pytest.raises(ShapeError, match="1, 8, 8"):
        reconstruction_psnr(vae, ArrayDataset(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)))
