"""Large images in tiles: the result of the whole image, in every batch, and never more than a tile at a time."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from augmentor import LatentAugment
from augmentor.autoencoders import SpatialKLAutoencoder, base
from augmentor.autoencoders.tiles import TILE, tiles
from augmentor.exceptions import AugmentorWarning


def convolutional(downsamples: int = 2, **arguments) -> SpatialKLAutoencoder:
    """Small, with tiles of 32 latents a side."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = SpatialKLAutoencoder(3, 2, width=4, downsamples=downsamples, norm="none", **arguments)
    return model.requires_grad_(False).eval()


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch):
    monkeypatch.setattr(base, "TILE", 0)  # the smallest that margins allow


def images(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def whole(model, function, *arguments):
    """What the network makes of the whole image."""
    model.receptive_radius, radius = None, model.receptive_radius
    try:
        return function(*arguments)
    finally:
        model.receptive_radius = radius


def seen(module) -> list[torch.Size]:
    """Sizes of all that a module is given from now on."""
    shapes: list[torch.Size] = []
    module.register_forward_pre_hook(lambda _, inputs: shapes.append(inputs[0].shape))
    return shapes


@pytest.mark.parametrize(("largest", "margin"), [(32, 4), (33, 4), (128, 4), (9, 4)])
def test_tiles_keep_every_cell_once_with_its_margin(largest, margin):
    for length in (1, largest, largest + 1, 2 * largest, 750, 1000):
        found = tiles(length, largest, margin)
        assert [cell for each in found for cell in range(*each.kept)] == list(range(length))
        assert len({end - begin for (begin, end), _ in found}) == 1
        for (begin, end), (first, last) in found:
            assert 0 <= begin <= max(0, first - margin)
            assert min(length, last + margin) <= end <= min(length, begin + largest)


@pytest.mark.parametrize("downsamples", [1, 2, 3])
def test_the_radius_is_that_of_the_network(downsamples):
    """Where gradients reach, on both sides of one place of the latent map."""
    model, radius, stride = convolutional(downsamples), 4, 2**downsamples
    assert model.receptive_radius == radius
    side, place = 2 * radius + 5, radius + 2
    pixels = images(1, 3, side * stride, side * stride).requires_grad_()
    model.encode(pixels).mean[..., place, place].sum().backward()
    cells = pixels.grad.abs().sum((0, 1)).unfold(0, stride, stride).unfold(1, stride, stride).sum((2, 3))
    assert _reach(cells, place) <= radius
    latents = images(1, 2, side, side).requires_grad_()
    cut = slice(stride * place, stride * (place + 1))
    model._decode(latents)[..., cut, cut].sum().backward()
    assert _reach(latents.grad.abs().sum((0, 1)), place) == radius


def _reach(cells: torch.Tensor, place: int) -> int:
    return int((cells.nonzero() - place).abs().max())


@pytest.mark.parametrize("downsamples", [1, 2, 3])
def test_tiles_give_what_the_whole_gives(downsamples):
    model = convolutional(downsamples)
    x = images(2, 3, 50 * 2**downsamples - 1, 75 * 2**downsamples - 3)
    posterior, expected = model.encode(x), whole(model, model.encode, x)
    torch.testing.assert_close(tuple(posterior), tuple(expected), rtol=0, atol=1e-5)
    made = model.decode(3 * posterior.mean, x.shape[1:])
    assert made.shape == x.shape
    torch.testing.assert_close(made, whole(model, model.decode, 3 * posterior.mean, x.shape[1:]), rtol=0, atol=1e-5)


def test_uint8_and_grey_images_and_batches_of_none():
    model = convolutional()
    x = (255 * images(1, 1, 70, 301)).to(torch.uint8)
    assert torch.equal(model.encode(x).mean, model.encode(x.float() / 255).mean)
    torch.testing.assert_close(model(x), whole(model, model, x), rtol=0, atol=1e-5)
    assert model(x[:0]).shape == (0, 1, 70, 301)


def test_an_image_becomes_the_same_in_every_batch():
    x, augment = images(3, 3, 140, 200), LatentAugment(convolutional(), p=1.0, seed=0)
    together = augment(x)
    assert all(torch.equal(augment(one), other) for one, other in zip(x, together, strict=True))


def test_networks_get_tiles_of_one_size():
    model = convolutional()
    encoded, decoded = seen(model.encoder), seen(model.decoder)
    model(images(2, 3, 150, 401))
    assert len(set(encoded)) == len(set(decoded)) == 1
    assert max(*encoded[0][2:], *(4 * side for side in decoded[0][2:])) <= 128


def test_images_up_to_512_pixels_a_side_go_through_as_a_whole(monkeypatch):
    monkeypatch.setattr(base, "TILE", TILE)
    model = convolutional()
    encoded, decoded = seen(model.encoder), seen(model.decoder)
    model(images(1, 3, 512, 99))
    assert (encoded, decoded) == ([(1, 3, 512, 100)], [(1, 2, 128, 25)])
    model(images(1, 3, 513, 99))
    assert encoded[1:] == [(1, 3, 276, 100)] * 2


def test_gradients_are_those_of_the_whole():
    augment = LatentAugment(convolutional(), p=1.0, seed=0, residual=0.5)
    weights = images(1, 3, 60, 200)

    def gradient(x):
        (augment(x) * weights).sum().backward()
        return x.grad

    x = images(1, 3, 60, 200)
    found = gradient(x.clone().requires_grad_())
    torch.testing.assert_close(found, whole(augment.autoencoder, gradient, x.clone().requires_grad_()))


@pytest.mark.parametrize("precision", ["fp32+channels_last", "bf16", "bf16+channels_last"])
def test_every_plan_works_in_tiles(precision):
    x = images(1, 3, 130, 200)
    model = convolutional()
    made = LatentAugment(model, p=1.0, seed=0, precision=precision)(x)
    model.receptive_radius = None
    expected = LatentAugment(model, p=1.0, seed=0, precision=precision)(x)
    assert (made.dtype, made.is_contiguous()) == (torch.float32, True)
    assert (made - expected).abs().max() < (1e-5 if precision.startswith("fp32") else 1 / 255)


@pytest.mark.parametrize("residual", [0.0, 1.0])
def test_natural_leaves_no_seam_in_a_photograph(residual):
    photograph = Image.fromarray(load_sample_image("china.jpg")).crop((150, 100, 410, 350))
    augment = LatentAugment("natural", p=1.0, seed=0, residual=residual)
    shapes = seen(augment.autoencoder.encoder)
    made = np.asarray(augment(photograph), np.int16)
    assert len(shapes) == 9
    assert np.abs(made - np.asarray(whole(augment.autoencoder, augment, photograph), np.int16)).max() <= 1


def test_a_network_that_has_to_see_all_of_a_large_image_says_so(monkeypatch):
    monkeypatch.setattr(base, "_LARGE", 100 * 100)
    grouped = SpatialKLAutoencoder.example().requires_grad_(False)
    shapes = seen(grouped.encoder)
    with pytest.warns(AugmentorWarning, match=r"cannot process images in tiles.*101x100.*v2.Resize.*'natural'"):
        grouped.encode(images(1, 1, 101, 100))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grouped.encode(images(4, 1, 100, 100))
        convolutional().encode(images(1, 3, 200, 200))
    assert shapes == [(1, 1, 104, 100), (4, 1, 100, 100)]
