"""What `train-autoencoder` starts from where nothing is named."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_sample_image
from torchvision.transforms import v2

from augmentor.autoencoders.default import default_autoencoder
from augmentor.exceptions import DataError

FLOWER = torch.tensor(load_sample_image("flower.jpg")).permute(2, 0, 1)


def pieces(image: torch.Tensor) -> list[torch.Tensor]:
    """Pieces of 32x32 pixels, as a data set."""
    return [piece for row in image.split(32, 1)[:8] for piece in row.split(32, 2)[:8]]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
def test_photographs_start_from_natural_in_colour_and_in_grey(dtype):
    image = v2.functional.to_dtype(FLOWER, dtype, scale=True)
    assert default_autoencoder(pieces(image)) == "natural"
    assert default_autoencoder(pieces(v2.functional.rgb_to_grayscale(image))) == "natural"


def test_drawings_on_a_flat_background_and_other_depths_start_from_nothing(digits):
    assert default_autoencoder(digits) == "vae"
    assert default_autoencoder([255 - image for image in digits.images]) == "vae"
    assert default_autoencoder(pieces(FLOWER[[0, 1]])) == "vae"


def test_what_no_vae_takes_starts_from_what_takes_any_size():
    drawings = torch.full((12, 1, 200, 200), 255, dtype=torch.uint8)
    drawings[:, :, 50:100, 50:60] = 0
    assert default_autoencoder(list(drawings)) == "natural"
    assert default_autoencoder(list(drawings.expand(-1, 4, -1, -1))) == "spatial_kl"
    with pytest.raises(DataError, match="empty data set"):
        default_autoencoder([])
