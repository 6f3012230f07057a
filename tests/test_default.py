"""`LatentAugment()` with nothing said: it works on any photograph, and says which network it took."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch.utils.data import DataLoader
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import pad, resize

import augmentor
from augmentor import (
    AugmentedLoader,
    LatentAugment,
    LatentCache,
    MixedDataset,
    ShardDataset,
    generate_shards,
    load_autoencoder,
)
from augmentor._internal.registry import describe
from augmentor.autoencoders.pretrained import fitting_autoencoder
from augmentor.exceptions import DataError, ShapeError
from augmentor.quality import reconstruction_psnr

PHOTOGRAPH = (3, 24, 20)
UNSEEN = ("china.jpg", "flower.jpg")


def photograph(name: str, size: tuple[int, int], grey: bool = False) -> torch.Tensor:
    """One of scikit-learn's two, which the network was not trained on, as (1,C,H,W) uint8."""
    shape = v2.Compose([v2.ToImage(), v2.Resize(min(size)), v2.CenterCrop(size)])
    return shape(Image.fromarray(load_sample_image(name)).convert("L" if grey else "RGB"))[None].as_subclass(
        torch.Tensor
    )


def some_images(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def spec(augment: LatentAugment) -> str:
    return describe(augment.autoencoder)


# What it makes of photographs


@pytest.mark.parametrize(("size", "grey"), [((32, 32), False), ((64, 64), True), ((150, 200), False)], ids=str)
def test_it_gives_photographs_back_that_it_has_not_seen(size, grey):
    """At least 28 dB; the flower, 32 pixels small, is the hardest with 29.1 dB."""
    augment = LatentAugment(p=1.0, seed=0)
    for name in UNSEEN:
        image = photograph(name, size, grey)
        made = augment(image)
        assert (made.shape, made.dtype) == (image.shape, image.dtype)
        assert not torch.equal(made, image)
        assert reconstruction_psnr(augment.autoencoder, [image]) >= 28


def test_grey_images_of_odd_sizes_stay_grey_and_get_gradients():
    image = Image.fromarray(load_sample_image("china.jpg")).convert("L").crop((0, 0, 37, 29))
    made = LatentAugment(p=1.0)(image)
    assert (made.mode, made.size) == ("L", (37, 29))
    images = some_images(2, 1, 13, 10).requires_grad_()
    LatentAugment(p=1.0)(images).sum().backward()
    assert (images.grad.flatten(1).abs().sum(1) > 0).all()


# Which network it takes


def like_mnist(digits):
    """The digits of scikit-learn, drawn as those of MNIST are: 20 pixels high, with a margin of 4."""
    return pad(resize(digits.images[:32], [20, 20], antialias=True), [4])


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_a_data_set_that_a_small_network_reconstructs_gets_it_without_a_word(digits, name):
    images = digits.images[:32] if name == "digits" else like_mnist(digits)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chosen, named = LatentAugment(p=1.0, seed=0), LatentAugment(name, "gaussian(std=0.5)", p=1.0, seed=0)
        chosen.choose_for([(image, 0) for image in images])
        assert torch.equal(chosen(images), named(images))
        assert repr(chosen).startswith(f"LatentAugment('{name}'")
    assert str(chosen.policy) == str(named.policy)


class Moved(torch.utils.data.Dataset):
    """A data set that applies its transform to each image, as those of torchvision do."""

    def __init__(self, images: torch.Tensor):
        self.images, self.transform = images, LatentAugment(p=1.0, seed=0)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> torch.Tensor:
        return self.transform(self.images[row])


def test_images_that_come_first_do_not_decide_so_any_worker_and_batch_makes_the_same(digits):
    """Which images a process sees first is not known: a blank one would be 'mnist', and another one not."""
    images = like_mnist(digits)[:4]
    images[2:] = images[2:].flip(1).bitwise_not()
    alone = torch.cat([LatentAugment(p=1.0, seed=0)(image[None]) for image in images])
    together = LatentAugment(p=1.0, seed=0)(images)
    loaded = torch.cat(list(DataLoader(Moved(images), 2, num_workers=2)))
    for made in (together, loaded):  # a convolution of another batch size may round one level otherwise
        torch.testing.assert_close(made, alone, atol=1, rtol=0)


def test_images_of_several_sizes_get_the_general_one(digits):
    augment = LatentAugment()
    augment.choose_for([*digits.images[:9], *some_images(9, 1, 20, 20)])
    assert spec(augment) == describe(load_autoencoder("natural"))
    with pytest.raises(DataError, match="empty data set"):
        augment.choose_for([])


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (32, 32), (24, 50)], ids=str)
@pytest.mark.parametrize("grey", [False, True])
def test_other_images_of_any_shape_get_the_general_one(size, grey):
    """Also those of the shape of a network that knows digits alone."""
    images = torch.cat([photograph(name, size, grey) for name in UNSEEN])
    assert fitting_autoencoder(images) == "natural"
    augment = LatentAugment(p=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert augment(images).shape == images.shape
    assert spec(augment) == describe(load_autoencoder("natural"))


def test_a_data_set_decides_once_and_the_network_comes_to_where_the_transform_is(digits):
    few = digits.subset(torch.arange(20))
    augment = LatentAugment(p=1.0).fit(few)
    assert spec(augment) == describe(load_autoencoder("digits"))
    with pytest.raises(ShapeError, match="takes 1-channel images"):
        augment(some_images(2, *PHOTOGRAPH))
    augment = LatentAugment(p=1.0).double()
    with torch.inference_mode():
        augment.choose_for(few)
    assert augment.autoencoder.dtype == torch.float64
    augment((digits.images[:2] / 255).requires_grad_()).sum().backward()
    assert not any(parameter.requires_grad for parameter in augment.parameters())


def test_a_policy_that_was_asked_for_stays_and_each_kind_of_latents_has_its_own(digits):
    augment = LatentAugment(policy="gaussian(std=0.1)")
    augment.choose_for(digits)
    assert str(augment.policy) == "gaussian(std=0.1)"
    assert str(LatentAugment("digits").policy) == "gaussian(std=0.5)"
    assert str(LatentAugment("natural").policy) == str(LatentAugment().policy) != "gaussian(std=0.5)"


# Everything around it


@pytest.mark.parametrize("used", [False, True])
def test_it_pickles_before_and_after_the_choice(digits, used):
    for images in (digits.images[:4], some_images(4, *PHOTOGRAPH)):
        augment = LatentAugment(p=1.0, seed=3)
        if used:
            augment.choose_for(images)
        assert torch.equal(pickle.loads(pickle.dumps(augment))(images), augment(images))


@pytest.mark.parametrize(("name", "store"), [("digits", "latents"), ("natural", "images")])
def test_shards_name_the_network_that_was_chosen(digits, name, store, tmp_path):
    images = digits.images[:8] if name == "digits" else some_images(4, *PHOTOGRAPH)
    items = [(image, 0) for image in images]
    folder = generate_shards(items, LatentAugment(), tmp_path / "auto", num_samples=8, store=store)
    named = generate_shards(items, LatentAugment(name), tmp_path / "named", num_samples=8, store=store)
    for file in (*folder.glob("*.h5"), folder / "manifest.json"):
        assert file.read_bytes() == (named / file.name).read_bytes()
    assert ShardDataset(folder)[0][0].shape == images.shape[1:]  # latents find their decoder by its name


def test_a_cache_has_decided_for_a_data_set_and_for_shards(digits, tmp_path):
    few = digits.subset(torch.arange(12))
    cache = LatentCache(few, load_autoencoder("natural"))
    assert len(MixedDataset(few, LatentAugment(), cache=cache)) == 24
    generate_shards(few, LatentAugment(), tmp_path / "shards", num_samples=4, cache=cache)


def test_a_loader_and_a_fit_choose_too(digits):
    images, labels = some_images(6, *PHOTOGRAPH), torch.arange(6) % 2
    for loaded, _ in AugmentedLoader([(images, labels)], LatentAugment(), ratio=0.5):
        assert loaded.shape == (9, *PHOTOGRAPH)
    augment = LatentAugment(policy="interpolate").fit([(images, labels)])
    assert augment.reference is not None
    assert augment(images, labels)[0].shape == images.shape
    known = LatentAugment(policy="class_gaussian").fit([(digits.images[:20], digits.targets[:20])])
    assert spec(known) == describe(load_autoencoder("digits"))


def test_a_config_keeps_the_choice_or_leaves_it_open(digits):
    document = LatentAugment(p=0.3).to_config()
    assert (document["autoencoder"], document["policy"], document["autoencoder_sha256"]) == ("auto", "auto", None)
    again = LatentAugment.from_config(document)
    again.choose_for(digits)
    assert again.to_config()["autoencoder"] == "digits"
    assert again.to_config()["policy"] == "gaussian(std=0.5)"
    photographs = LatentAugment()
    photographs(some_images(2, *PHOTOGRAPH))
    assert LatentAugment.from_config(photographs.to_config()).to_config() == photographs.to_config()


def test_the_albumentations_transform_takes_photographs():
    image = load_sample_image("flower.jpg")[:37, :50]
    made = augmentor.albumentations.LatentAugment(p=1.0)(image=image)["image"]
    assert (made.shape, made.dtype) == (image.shape, np.uint8)
