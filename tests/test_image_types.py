"""`LatentAugment` on images of every type: each comes back as it went in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from augmentor import LatentAugment, MixedDataset
from augmentor.exceptions import ShapeError

PIXELS = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)


@pytest.fixture(scope="module")
def natural():
    return LatentAugment("natural", "gaussian(std=0.3)", p=1.0)


@pytest.mark.parametrize("image", [PIXELS, PIXELS[..., 0], PIXELS[..., :1], (PIXELS / 255).astype(np.float32)],
                         ids=["HWC", "HW", "HW1", "float"])  # fmt: skip
def test_arrays_keep_layout_and_dtype_and_are_treated_as_pil_images_are(natural, image):
    torch.manual_seed(0)
    made = natural({"image": image, "label": 3})["image"]
    assert type(made) is np.ndarray
    assert (made.dtype, made.shape) == (image.dtype, image.shape)
    assert not np.array_equal(made, image)
    if image.dtype == np.uint8:
        torch.manual_seed(0)
        assert np.array_equal(np.squeeze(made), np.asarray(natural(Image.fromarray(np.squeeze(image)))))


@pytest.mark.parametrize(("mode", "returned"), [("L", "L"), ("RGB", "RGB"), ("LA", "LA"), ("RGBA", "RGBA"),
                                                ("P", "RGB"), ("1", "L"), ("CMYK", "RGB")])  # fmt: skip
def test_opaque_pil_images_of_every_mode(natural, mode, returned):
    picture = Image.fromarray(PIXELS).convert("L" if mode == "LA" else "RGB").convert(mode)
    made = natural(picture)
    assert made.mode == returned
    assert made.size == (16, 16)
    if "A" in mode:
        assert made.getchannel("A").getextrema() == (255, 255)


@pytest.mark.parametrize("p", [0.5, 1.0])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_batch_in_channels_last_comes_out_so(natural, p, dtype):
    batch = torch.from_numpy(np.stack([PIXELS] * 8)).permute(0, 3, 1, 2)
    batch = batch if dtype == torch.uint8 else batch / 255
    made = LatentAugment(natural.autoencoder, natural.policy, p=p)(batch)
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert not torch.equal(made, batch)


class Arrays:
    """A data set of numpy images."""

    def __init__(self, data):
        self.images, self.targets = data.images[:60, 0].numpy(), data.targets[:60]

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], int(self.targets[index])


def test_a_data_set_of_arrays_is_fitted_on_and_mixed(digits):
    data = Arrays(digits)
    mixed = MixedDataset(data, LatentAugment("digits", "smote(k=3)").fit(data))
    images, labels = next(iter(DataLoader(mixed, batch_size=len(mixed))))
    assert len(mixed) == 120
    assert (images.dtype, images.shape) == (torch.uint8, (120, 8, 8))
    assert torch.equal(images[:60], torch.from_numpy(data.images))
    assert set(labels.tolist()) == set(range(10))


def test_messages_call_the_autoencoder_what_the_user_called_it():
    with pytest.raises(ShapeError, match="with autoencoder 'cifar10' takes"):
        LatentAugment("cifar10", p=1.0)(torch.rand(12, 32, 32))
