"""`preview_png`: a row for what was asked, the same picture for the same seed, reasons where there is none."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
import torch
from PIL import Image

import augmentor.views.preview as module
from augmentor.autoencoders import get_autoencoder
from augmentor.data import ArrayDataset
from augmentor.exceptions import ReferenceSetError, ShapeError, UnknownNameError
from augmentor.policies import list_policies, policies
from augmentor.views.preview import preview_png


@pytest.fixture
def drawn(monkeypatch) -> list:
    """The strips of each picture, as they went to the drawing."""
    kept, draw = [], module._drawn

    def keep(strips):
        kept.append(strips)
        return draw(strips)

    monkeypatch.setattr(module, "_drawn", keep)
    return kept


def picture(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_every_policy_at_three_strengths_below_the_originals(digits, vae, drawn):
    image = picture(preview_png(digits, vae))
    (strips,) = drawn
    first, *rest = strips
    assert [title for title, _ in first] == ["originals", "reconstructions"]
    assert len(rest) == len(list_policies())
    for name, strip in zip(list_policies(), rest, strict=True):
        assert len(strip) == len(policies.get(name).strengths()) == 3
        assert all(title.startswith(name) for title, _ in strip)
        assert all(content.shape == (7, 1, 8, 8) for _, content in strip)
        assert not torch.equal(strip[0][1], strip[2][1])
    assert image.format == "PNG"
    assert image.width > image.height > 600


def test_only_the_policies_that_were_asked_for(digits, vae, drawn):
    small = picture(preview_png(digits, vae, policies=["gaussian(std=2.0)", "smote(k=3)"], count=4))
    (strips,) = drawn
    titles = [[title for title, _ in strip] for strip in strips]
    assert titles == [["originals", "reconstructions"], ["gaussian(std=2.0)"], ["smote(k=3, strength=1.0)"]]
    originals, rebuilt = (content for _, content in strips[0])
    with torch.no_grad():
        assert torch.equal(rebuilt, vae(originals))
    assert len(strips[1][0][1]) == 4
    assert small.height < 400


def test_originals_are_members_spread_over_the_classes(digits, vae, drawn):
    preview_png(digits, vae, policies=["gaussian"], count=10)
    originals = drawn[0][0][0][1]
    places = [next(i for i, known in enumerate(digits.images) if torch.equal(known, image)) for image in originals]
    assert sorted(int(digits.targets[place]) for place in places) == list(range(10))


def test_the_seed_decides(digits, vae):
    some = digits.subset(torch.arange(60))
    one = preview_png(some, vae, policies=["gaussian"], seed=1)
    assert one == preview_png(some, vae, policies=["gaussian"], seed=1)
    assert one != preview_png(some, vae, policies=["gaussian"], seed=2)


def test_images_without_labels(digits, vae, drawn):
    preview_png(Unlabelled(digits.images[:9]), vae, policies=["interpolate"], count=20)
    assert len(drawn[0][0][0][1]) == 9


class Unlabelled:
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


def test_feature_map_latents_and_colour(vae):
    images = torch.randint(0, 256, (12, 3, 12, 10), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    data = ArrayDataset(images, torch.arange(12) % 2)
    spatial = get_autoencoder("spatial_kl")(channels=3, latent_channels=2, width=8).eval()
    assert picture(preview_png(data, spatial, policies=["posterior", "slerp"], count=3)).width > 300


def test_a_policy_that_does_not_fit_is_drawn_as_the_reason(digits, drawn):
    dense = get_autoencoder("dense")((1, 8, 8), latent_dim=4)  # has no spread, so nothing for `posterior`
    preview_png(digits.subset(torch.arange(40)), dense)
    reasons = {strip[0][0].split("(")[0]: strip[0][1] for strip in drawn[0][1:] if isinstance(strip[0][1], str)}
    assert "posterior" in reasons
    assert "gaussian" not in reasons
    assert len(reasons["posterior"]) > 20


def test_a_policy_that_was_asked_for_and_does_not_fit_raises(digits, vae):
    rejected = digits.subset(torch.cat([torch.tensor([0]), (digits.targets[:50] != 0).nonzero().squeeze(1)]))
    with pytest.raises(ReferenceSetError, match="class 0 has 1"):
        preview_png(rejected, vae, policies=["smote"])
    with pytest.raises(UnknownNameError, match="did you mean 'smote'"):
        preview_png(rejected, vae, policies=["smot"])
    with pytest.raises(ShapeError, match="1, 8, 8"):
        preview_png(ArrayDataset(torch.zeros(3, 1, 9, 9, dtype=torch.uint8)), vae)


def test_the_global_generators_are_left_alone(digits, vae):
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    preview_png(digits.subset(torch.arange(40)), vae, policies=["gaussian", "class_gaussian"])
    assert torch.equal(states[0], torch.get_rng_state())
    assert all(np.array_equal(a, b) for a, b in zip(states[1], np.random.get_state(), strict=True))
    assert states[2] == random.getstate()
