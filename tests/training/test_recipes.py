"""The usual augmentations: what they make of images, what is pasted, and what is chosen of them."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import v2

from augmentor._internal.random import seeded
from augmentor.exceptions import InputError, UnknownNameError
from augmentor.training import Recipe, small_cnn, train_classifier, usual_recipes
from augmentor.training.classifier import macro_recall, predict
from augmentor.training.recipes import background, chosen_recipes, rebalanced

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 24, 40), (12, 12, 28)]
EVERY = [pytest.param(shape, name, id=f"{shape} {name}") for shape in SHAPES for name in usual_recipes(shape, 4)]


@pytest.mark.parametrize(("shape", "name"), EVERY)
def test_a_recipe_keeps_shape_and_type_and_its_code_is_what_is_run(shape, name):
    recipe = usual_recipes(shape, 4)[name]
    image = (torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 255).to(torch.uint8)
    pasted = {"v2": v2}
    exec(recipe.code, pasted)
    assert (recipe.image is None, recipe.batch is None) == ("transform" not in pasted, "batch_transform" not in pasted)
    for example in (image, image / 255):
        if recipe.image is not None:
            with seeded(3):
                made = recipe.image(example)
            with seeded(3):
                assert torch.equal(made, pasted["transform"](example))
            assert (made.shape, made.dtype) == (example.shape, example.dtype)
    if recipe.batch is not None:
        images, labels = recipe.batch(torch.rand(4, *shape), torch.arange(4))
        assert (images.shape, labels.shape) == ((4, *shape), (4, 4))


def test_a_recipe_changes_images_and_differs_from_call_to_call():
    image = (torch.rand(3, 32, 32) * 255).to(torch.uint8)
    for name, recipe in usual_recipes((3, 32, 32), 4).items():
        if recipe.image is not None:
            assert len(torch.stack([recipe.image(image) for _ in range(12)]).unique(dim=0)) > 3, name


def test_photographs_are_mirrored_and_digits_are_not_and_odd_channels_keep_their_colours():
    codes = {shape: "\n".join(recipe.code for recipe in usual_recipes(shape, 4).values()) for shape in SHAPES}
    assert [("Flip" in code, "ColorJitter" in code) for code in codes.values()] == [
        (False, False), (False, False), (True, True), (True, True), (False, False),
    ]  # fmt: skip
    assert "RandAugment" not in codes[12, 12, 28]
    assert all(list(usual_recipes(shape, 4))[-1] == "none" for shape in SHAPES)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_no_two_recipes_are_the_same(shape):
    codes = [recipe.code for recipe in usual_recipes(shape, 4).values()]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)], ids=str)
def test_white_images_stay_white(shape):
    """Nothing black is moved in."""
    white = torch.full(shape, 255, dtype=torch.uint8)
    for name, recipe in usual_recipes(shape, 4, fill=255).items():
        changes_colours = any(word in name for word in ("Augment", "AugMix", "ColorJitter", "erasing"))
        if recipe.image is not None and not changes_colours:
            made = torch.stack([recipe.image(white) for _ in range(8)])
            assert int(made.min()) > 100, name  # torchvision draws a grey line where an image ends
            assert float((made == 255).float().mean()) > 0.8, name
    assert "fill" not in "".join(recipe.code for recipe in usual_recipes(shape, 4).values())


def test_what_most_of_the_border_is_goes_around_an_image():
    images = (torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 255).to(torch.uint8)
    assert background(images) == 0.0  # no one value
    framed = images.clone()
    framed[..., [0, -1], :], framed[..., 3:12, :1] = 255, 253  # the right border is noise
    assert background(framed) == 255.0
    assert background(framed / 255) == 1.0
    assert background(255 - framed) == 0.0
    blue = torch.zeros(2, 3, 8, 8).index_fill(1, torch.tensor([2]), 1.0)
    assert background(blue) == 0.0  # one number can't be a colour


def test_some_are_chosen_by_name_and_others_brought():
    usual = usual_recipes((1, 28, 28), 10)
    assert list(chosen_recipes(["affine", "none"], usual)) == ["affine", "none"]
    assert list(chosen_recipes([], usual)) == ["none"]
    mine = v2.RandomInvert()
    found = chosen_recipes({"mine": mine, "mixed": Recipe(batch=v2.MixUp(num_classes=10))}, usual)
    assert (found["mine"].image, list(found)) == (mine, ["mine", "mixed", "none"])
    for controls, error, said in (
        (["afine"], UnknownNameError, "did you mean 'affine'"),
        ("affine", InputError, "controls must be a list of names, or a dict of transforms"),
        ({"mine": 3}, InputError, r"controls\['mine'\] is 3"),
    ):
        with pytest.raises(error, match=said):
            chosen_recipes(controls, usual)


def test_unequal_classes_bring_oversampling_and_logit_adjustment():
    usual = usual_recipes((1, 28, 28), 10)
    balances = {score: [r.balance for r in rebalanced(usual, score).values()] for score in ("accuracy", "macro_recall")}
    assert balances["accuracy"].count("oversampling") == balances["accuracy"].count("logit adjustment") == 1
    assert balances["macro_recall"].count("oversampling") == len(usual)
    assert [next(iter(rebalanced(usual, score).values())).balance for score in balances] == ["none", "oversampling"]


def test_logit_adjustment_helps_rare_classes(digits):
    rows = [torch.nonzero(digits.targets == label).squeeze(1)[: 100 if label < 5 else 4] for label in range(10)]
    unequal, test = digits.subset(torch.cat(rows)), digits.subset(torch.arange(1200, 1797))
    prior = unequal.targets.bincount() / len(unequal)
    recalls = [
        macro_recall(predict(train_classifier(small_cnn, unequal, num_classes=10, steps=100, **more), test),
                     test.targets)
        for more in ({}, {"prior": prior})
    ]  # fmt: skip
    assert recalls[1] > recalls[0] + 0.05
