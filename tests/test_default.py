"""`LatentAugment()` with nothing said: it works on any photograph, and says which network it took."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torchvision.transforms import v2

import augmentor
from augmentor import AugmentedLoader, LatentAugment, ShardDataset, generate_shards, load_autoencoder
from augmentor._internal.registry import describe
from augmentor.autoencoders import list_autoencoders
from augmentor.autoencoders.pretrained import card, fitting_autoencoder
from augmentor.exceptions import AugmentorWarning, ShapeError
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


@pytest.mark.parametrize(("shape", "name"), [((1, 8, 8), "digits"), ((1, 28, 28), "mnist")])
def test_images_that_a_network_knows_by_their_shape_get_it_without_a_word(shape, name):
    images = some_images(6, *shape)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chosen, named = LatentAugment(p=1.0, seed=0), LatentAugment(name, "gaussian(std=0.5)", p=1.0, seed=0)
        assert torch.equal(chosen(images), named(images))
    assert str(chosen.policy) == str(named.policy)


def test_other_images_get_the_general_one_and_it_says_so_once():
    augment = LatentAugment()
    with pytest.warns(AugmentorWarning, match=r"knows images \(3, 24, 20\).*takes 'natural'.*name it"):
        augment(some_images(2, *PHOTOGRAPH))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        augment(some_images(2, *PHOTOGRAPH))
        LatentAugment("natural")(some_images(2, *PHOTOGRAPH))


def test_every_choice_is_a_pretrained_model_that_takes_what_it_is_chosen_for():
    for name in list_autoencoders():
        shape = card(name).get("chosen_for")
        if shape is not None:
            assert fitting_autoencoder(shape) == name
            assert tuple(shape) == load_autoencoder(name).image_shape
    for shape in [(3, 32, 32), (3, 64, 64), (1, 32, 32), (3, 28, 28), (3, 375, 500)]:
        assert fitting_autoencoder(shape) == "natural"


def test_the_first_images_decide_and_the_network_comes_to_where_the_transform_is():
    augment = LatentAugment(p=1.0)
    augment(some_images(2, 1, 8, 8))
    assert spec(augment) == describe(load_autoencoder("digits"))
    with pytest.raises(ShapeError, match="takes 1-channel images"):
        augment(some_images(2, *PHOTOGRAPH))
    augment = LatentAugment(p=1.0).double()
    augment(some_images(2, 1, 8, 8))
    assert augment.autoencoder.dtype == torch.float64
    assert not any(parameter.requires_grad for parameter in augment.parameters())


def test_a_policy_that_was_asked_for_stays_and_each_kind_of_latents_has_its_own():
    augment = LatentAugment(policy="gaussian(std=0.1)")
    augment(some_images(2, 1, 8, 8))
    assert str(augment.policy) == "gaussian(std=0.1)"
    assert str(LatentAugment("digits").policy) == "gaussian(std=0.5)"
    assert str(LatentAugment("natural").policy) == str(LatentAugment().policy) != "gaussian(std=0.5)"


# Everything around it


@pytest.mark.parametrize(("shape", "used"), [((1, 8, 8), False), (PHOTOGRAPH, True)], ids=str)
def test_it_pickles_before_and_after_the_choice(shape, used):
    augment, images = LatentAugment(p=1.0, seed=3), some_images(4, *shape)
    if used:
        augment(images)
    assert torch.equal(pickle.loads(pickle.dumps(augment))(images), augment(images))


@pytest.mark.parametrize(("shape", "store"), [((1, 8, 8), "latents"), (PHOTOGRAPH, "images")], ids=str)
def test_shards_name_the_network_that_was_chosen(shape, store, tmp_path):
    name = fitting_autoencoder(shape)
    images = [(image, 0) for image in some_images(4, *shape)]
    folder = generate_shards(images, LatentAugment(), tmp_path / "auto", num_samples=8, store=store)
    named = generate_shards(images, LatentAugment(name), tmp_path / "named", num_samples=8, store=store)
    for file in (*folder.glob("*.h5"), folder / "manifest.json"):
        assert file.read_bytes() == (named / file.name).read_bytes()
    assert ShardDataset(folder)[0][0].shape == shape  # latents find their decoder among the pretrained models


def test_a_loader_and_a_fit_choose_too():
    images, labels = some_images(6, *PHOTOGRAPH), torch.arange(6) % 2
    for loaded, _ in AugmentedLoader([(images, labels)], LatentAugment(), ratio=0.5):
        assert loaded.shape == (9, *PHOTOGRAPH)
    augment = LatentAugment(policy="interpolate").fit([(images, labels)])
    assert augment.reference is not None
    assert augment(images, labels)[0].shape == images.shape
    digits = LatentAugment(policy="class_gaussian").fit([(some_images(6, 1, 8, 8), labels)])
    assert spec(digits) == describe(load_autoencoder("digits"))


def test_a_config_keeps_the_choice_or_leaves_it_open():
    document = LatentAugment(p=0.3).to_config()
    assert (document["autoencoder"], document["policy"], document["autoencoder_sha256"]) == ("auto", "auto", None)
    again = LatentAugment.from_config(document)
    again(some_images(2, 1, 8, 8))
    assert again.to_config()["autoencoder"] == "digits"
    assert again.to_config()["policy"] == "gaussian(std=0.5)"
    photographs = LatentAugment()
    photographs(some_images(2, *PHOTOGRAPH))
    assert LatentAugment.from_config(photographs.to_config()).to_config() == photographs.to_config()


def test_the_albumentations_transform_takes_photographs():
    image = load_sample_image("flower.jpg")[:37, :50]
    made = augmentor.albumentations.LatentAugment(p=1.0)(image=image)["image"]
    assert (made.shape, made.dtype) == (image.shape, np.uint8)
