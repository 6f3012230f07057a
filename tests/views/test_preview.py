"""`preview_png`: a row for what was asked, the same picture for the same seed, reasons where there is none."""

from __future__ import annotations

import io

import pytest
import torch
from PIL import Image

import augmentor.views.preview as module
from augmentor.autoencoders import Autoencoder, get_autoencoder, load_autoencoder
from augmentor.data import ArrayDataset
from augmentor.exceptions import AugmentorWarning, InputError
from augmentor.policies import list_policies
from augmentor.views.preview import preview_png


@pytest.fixture
def drawn(monkeypatch) -> list:
    """The strips of each picture, as they go to the drawing."""
    kept, draw = [], module.draw
    monkeypatch.setattr(module, "draw", lambda strips: kept.append(strips) or draw(strips))
    return kept


@pytest.fixture(scope="module")
def model() -> Autoencoder:
    return load_autoencoder("digits")


@pytest.fixture
def few(digits) -> ArrayDataset:
    return digits.subset(torch.arange(60))


def picture(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.slow
def test_every_policy_at_three_strengths_below_the_originals(few, model, drawn):
    image = picture(preview_png(few, model))
    (((originals, (title, rebuilt)), *rest),) = drawn
    assert (originals[0], title) == ("originals", "reconstructions")
    with torch.no_grad():
        assert torch.equal(rebuilt, model(originals[1]))
    assert len(rest) == len(list_policies())
    for name, strip in zip(list_policies(), rest, strict=True):
        assert [title.startswith(name) for title, _ in strip] == [True] * 3
        assert all(content.shape == (7, 1, 8, 8) for _, content in strip)
        assert not torch.equal(strip[0][1], strip[2][1])
    assert image.width > image.height > 600


def test_only_the_policies_that_were_asked_for_of_originals_from_every_class(few, model, drawn):
    small = picture(preview_png(few, model, policies=["gaussian(std=2.0)", "smote(k=3)"], count=10))
    ((first, *rest),) = drawn
    assert [[title for title, _ in strip] for strip in rest] == [["gaussian(std=2.0)"], ["smote(k=3, strength=1.0)"]]
    places = [next(i for i, known in enumerate(few.images) if torch.equal(known, image)) for image in first[0][1]]
    assert sorted(few.targets[places].tolist()) == list(range(10))
    assert small.height < 400


def test_the_seed_decides_and_nothing_global_is_drawn_from(few, model, global_rng_untouched):
    one, again, other = (preview_png(few, model, policies=["class_gaussian"], seed=seed) for seed in (1, 1, 2))
    assert one == again != other


def test_images_without_labels_feature_map_latents_and_colour(digits, model, drawn):
    preview_png(list(digits.images[:9]), model, policies=["interpolate"], count=20)
    assert len(drawn[0][0][0][1]) == 9
    images = torch.randint(0, 256, (12, 3, 12, 10), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    spatial = get_autoencoder("spatial_kl")(channels=3, latent_channels=2, width=8).eval()
    data = ArrayDataset(images, torch.arange(12) % 2)
    assert picture(preview_png(data, spatial, policies=["posterior", "slerp"], count=3)).width > 300


def test_a_policy_that_does_not_fit_is_drawn_as_the_reason(few, drawn, monkeypatch):
    monkeypatch.setattr(module, "list_policies", lambda: ["gaussian", "posterior"])
    dense = get_autoencoder("dense")((1, 8, 8), latent_dim=4)  # has no posterior std, so nothing for `posterior`
    preview_png(few, dense)
    ((_, gaussian, posterior),) = drawn
    assert not any(isinstance(content, str) for _, content in gaussian)
    assert all(len(reason) > 20 for _, reason in posterior)


def test_a_policy_that_was_asked_for_and_does_not_fit_raises(few):
    with pytest.raises(InputError, match="posterior"):
        preview_png(few, get_autoencoder("dense")((1, 8, 8), latent_dim=4), policies=["posterior"])


def test_an_image_without_a_partner_is_drawn_as_it_is_and_a_policy_that_was_asked_for_warns(digits, model, drawn):
    alone = digits.subset(torch.cat([torch.tensor([0]), (digits.targets[:50] != 0).nonzero().squeeze(1)]))
    with pytest.warns(AugmentorWarning, match="found no partner for 1 of 7"):
        preview_png(alone, model, policies=["smote"])
    preview_png(alone, model)  # no warning from each policy
    (originals, _), ((_, smote),) = drawn[0][0], drawn[0][1]
    same = (originals[1] == smote).flatten(1).all(1)
    assert int(same.sum()) == 1


def test_a_long_title_is_broken_into_lines_that_fit():
    white = torch.ones(7, 1, 8, 8)
    short, line, words, long = (
        picture(module.draw([[(title, white)]])) for title in ("a", 64 * "a", " ".join(3 * [40 * "a"]), 130 * "x")
    )
    assert short.height == line.height < words.height == long.height
    left, _, right, _ = long.convert("L").point(lambda value: 255 * (value < 128)).getbbox()
    assert 5 < left < right < long.width - 5
