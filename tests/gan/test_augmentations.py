"""What becomes of a GAN's batches: shapes, noise, labels and gradients of each augmentation, and how often."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch

from augmentor import LatentAugment, QualityGate
from augmentor._internal.random import sample_keys
from augmentor.exceptions import InputError
from augmentor.gan import AdaptiveP, get_augmentation, needs_autoencoder
from augmentor.gan.augmentations import augmentations, get_probability
from augmentor.gan.feed import Batch


def keys(seed: int = 0, count: int = 12) -> np.ndarray:
    return sample_keys(seed, 0, np.arange(count))


@pytest.fixture
def batch(digits) -> Batch:
    images = digits.images[:12].float() / 255
    return Batch(images, digits.targets[:12], keys(), np.arange(12), np.arange(12))


def build(name, vae, **settings):
    return get_augmentation(name, LatentAugment(vae), **settings)


def part_of(batch: Batch, rows) -> Batch:
    return Batch(*(None if field is None else field[rows] for field in batch))


def nearest(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).flatten(1).abs().amax(1).min())


TEXTS = {"ada": "ada(p=1.0)", "both": "both(p=0.5)", "diffaugment": "diffaugment", "none": "none", "real": "real"}
EVERY = pytest.mark.parametrize("name", augmentations.names())


@EVERY
def test_what_every_member_promises(name, batch, vae, global_rng_untouched):
    """Images keep their shape; generated ones are as many as came, and gradients flow through all of them."""
    member = build(TEXTS.get(name, name), vae)
    images, labels = member.real(batch)
    assert images.shape[1:] == batch.images.shape[1:]
    assert len(images) == len(labels) >= len(batch.images)
    assert (len(images) > len(batch.images)) == member.adds
    assert images.isfinite().all()
    given = batch.images.clone().requires_grad_()
    made = member.fake(batch._replace(images=given))
    assert made.shape == given.shape
    (gradient,) = torch.autograd.grad(made.square().sum(), given)
    assert (gradient.flatten(1).abs().amax(1) > 0).all()
    assert torch.equal(member.fake(batch), made)
    assert member.real(batch._replace(labels=None))[1] is None


@EVERY
def test_what_every_member_declares(name, vae):
    member = augmentations.get(name)
    assert needs_autoencoder(f"{name}") == member.in_latents
    if member.in_latents:
        with pytest.raises(InputError, match="needs latent_augment"):
            get_augmentation(name)
    for setting, value in (("p", 0.3), ("ratio", 2.0)):
        if setting in member.takes:
            assert str(value) in str(build(name, vae, **{setting: value}).settings()[setting])
        else:
            with pytest.raises(InputError, match=f"takes no {setting}; remove {setting}"):
                build(name, vae, **{setting: value})


# In latent space


@pytest.mark.parametrize("ratio", [0.0, 0.25, 2.5])
def test_real_adds_decoded_samples(batch, vae, ratio):
    with pytest.warns(match="adds no decoded samples") if ratio == 0 else contextlib.nullcontext():
        member = build("real", vae, ratio=ratio)
    images, labels = member.real(batch)
    assert len(images) == len(labels) == 12 + round(12 * ratio)
    assert torch.equal(images[:12], batch.images)
    assert torch.equal(labels[:12], batch.labels)
    counts = torch.tensor([int(np.floor(ratio * (n + 1)) - np.floor(ratio * n)) for n in range(12)])
    assert torch.equal(labels[12:], batch.labels.repeat_interleave(counts))
    assert 0 <= images.min() <= images.max() <= 1
    assert member.fake(batch) is batch.images
    if ratio > 2:  # two samples of one image differ
        assert nearest(images[12:14], images[[13, 12]]) > 1e-3


@pytest.mark.parametrize("text", ["ada(p=1)", "diffaugment"])
def test_pixels_are_changed_in_float32_whatever_the_run_computes_in(batch, text):
    member = get_augmentation(text)
    exact = member.fake(batch)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(member.fake(batch), exact)


def test_real_makes_the_same_of_a_sample_whatever_part_of_the_batch_is_here(batch, vae):
    member = build("real", vae, ratio=1.5)
    whole = member.real(batch)[0][12:]
    halves = [part_of(batch, slice(0, 6)), part_of(batch, slice(6, 12))]
    torch.testing.assert_close(torch.cat([member.real(half)[0][6:] for half in halves]), whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", ["real", "fake"])
def test_both_replaces_images_with_its_probability(batch, vae, side):
    def changed(p):
        with pytest.warns(match="changes nothing") if p == 0 else contextlib.nullcontext():
            member = build("both", vae, p=p)
        made = getattr(member, side)(batch)
        made = made[0] if side == "real" else made
        return (made != batch.images).flatten(1).any(1).tolist()

    assert all(changed(1.0))
    some = changed(0.5)
    assert 0 < sum(some) < 12
    assert some == changed(0.5)
    assert not any(changed(0.0))


def test_a_probability_comes_from_the_text_or_the_argument_or_the_transform(vae):
    augment = LatentAugment(vae, p=0.3)
    assert get_augmentation("both", augment).p.value == 0.3
    assert get_augmentation("both(p=0.2)", augment, p=0.9).p.value == 0.2
    assert get_augmentation("both+diffaugment", augment, p=0.9).members[0].p.value == 0.9


def test_a_gate_is_for_real_images_only(few, vae, batch):
    def gated(action):
        return LatentAugment(vae, gate=QualityGate(action=action)).fit(few)

    redraws = gated("redraw")
    with pytest.raises(InputError, match="could recognise generated images by this difference"):
        get_augmentation("both", redraws)
    with pytest.raises(InputError, match="use action='redraw'"):
        get_augmentation("real", gated("weigh"))
    assert len(get_augmentation("real", redraws).real(batch)[0]) == 24


# Of pixels


@pytest.fixture(params=[1, 3], ids=["grey", "rgb"])
def pictures(request) -> Batch:
    images = torch.rand(64, request.param, 16, 12, generator=torch.Generator().manual_seed(0))
    return Batch(images, None, keys(count=64), np.arange(64), np.arange(64))


@pytest.mark.parametrize("text", ["diffaugment", "ada(p=0.5)"])
def test_pixels_change_alike_on_both_sides_by_the_key_alone(pictures, text, global_rng_untouched):
    member = get_augmentation(text)
    whole = member.fake(pictures)
    assert whole.isfinite().all()
    assert torch.equal(member.real(pictures)[0], whole)
    changed = (whole - pictures.images).abs().flatten(1).amax(1) > 1e-4
    assert changed.float().mean() > (0.9 if text == "diffaugment" else 0.5)
    rows = [40, 3, 17]
    torch.testing.assert_close(member.fake(part_of(pictures, rows)), whole[rows], atol=1e-5, rtol=0)
    assert nearest(member.fake(pictures._replace(keys=keys(1, 64))), whole) > 1e-4


def test_diffaugment_moves_and_cuts_as_in_the_paper(pictures):
    ones = pictures._replace(images=torch.ones(64, 1, 16, 16))
    moved = get_augmentation("diffaugment(colour=False, cutout=0)").fake(ones)
    grey = (moved < 0.75).float()  # what moves in is 0 in [-1, 1]
    columns, rows = grey.amin((1, 2)).sum(1), grey.amin((1, 3)).sum(1)
    for shift in (columns, rows):
        assert set(shift.tolist()) == {0, 1, 2}  # an eighth of 16
    cut = get_augmentation("diffaugment(colour=False, translation=0)").fake(ones)
    area = (cut == 0.5).float().sum((1, 2, 3))
    assert set(cut.unique().tolist()) == {0.5, 1.0}
    assert area.max() == 64  # half of each side
    assert area.min() >= 16  # the centre lies on the image


def test_ada_changes_nothing_at_first_more_at_more_and_by_its_parts(pictures):
    assert torch.equal(get_augmentation("ada").fake(pictures), pictures.images)

    def change(p):
        return float((get_augmentation("ada", p=p).fake(pictures) - pictures.images).abs().mean())

    assert change(0.1) < change(0.5) < change(1.0)
    flat = pictures._replace(images=torch.full_like(pictures.images, 0.7))
    moved = get_augmentation("ada(p=1, colour=False)").fake(flat)  # reflected at the border, so nothing new comes in
    torch.testing.assert_close(moved, flat.images, atol=1e-5, rtol=0)
    coloured = get_augmentation("ada(p=1, geometry=False)").fake(flat)
    assert (coloured - coloured[:, :, :1, :1]).abs().max() < 1e-5  # the same everywhere
    assert (coloured - flat.images).abs().flatten(1).amax(1).median() > 0.01
    with pytest.raises(InputError, match="does nothing"):
        get_augmentation("ada(geometry=False, colour=False)")


# Several


def test_several_come_one_after_the_other_with_random_sequences_of_their_own(batch, vae):
    chain = build("both(p=0.5)+diffaugment", vae)
    assert str(chain).startswith("both+diffaugment(")
    first = build("both(p=0.5)", vae).fake(batch)
    own = batch._replace(images=first, keys=sample_keys(0, 1, batch.keys.view(np.int64)))
    assert torch.equal(chain.fake(batch), get_augmentation("diffaugment").fake(own))
    assert torch.equal(chain.real(batch)[0], chain.fake(batch))
    with pytest.raises(InputError, match="put both first"):
        build("diffaugment+both", vae)
    with pytest.raises(InputError, match="must come last"):
        build("real+diffaugment", vae)


def test_a_chain_knows_its_adaptive_members_apart(vae):
    chain = build("both(p='adaptive(images=100, every=1)')+ada(p='adaptive(images=200, every=1)')", vae)
    assert chain.watches
    chain.observe(torch.tensor(1.0), 10)
    assert chain.status() == {"p_both": pytest.approx(0.1), "p_ada": pytest.approx(0.05)}
    assert not build("both+diffaugment", vae).watches


# How often


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fixed(value=0.5)", [0.5] * 6),
        ("annealed(start=0.5, images=250)", [0.4, 0.3, 0.2, 0.1, 0, 0]),
        ("adaptive(target=0.6, images=1000, every=2)", [0, 0.1, 0.1, 0.2, 0.2, 0.1]),
    ],
)
def test_every_p_changes_as_it_says_and_goes_on_from_what_was_saved(text, expected):
    p, seen = get_probability(text), []
    for sign in (0.9, 0.9, 0.7, 0.6, 0.5, 0.6):
        p.observe(torch.tensor(sign), 50)
        seen.append(p.value)
        state, p = p.state_dict(), get_probability(text)
        p.load_state_dict(state)
    assert seen == pytest.approx(expected)


def test_adaptive_p_stays_a_probability():
    p = AdaptiveP(images=1000, every=2)
    for sign, end in ((1.0, 1), (-1.0, 0)):
        for _ in range(60):
            p.observe(torch.tensor(sign), 50)
        assert p.value == end


def test_probabilities_as_texts():
    assert get_probability("0.25").value == 0.25
    assert get_probability("adaptive(images=100, start=0.5)").value == 0.5
    for wrong in (1.5, "-0.1", "adaptive(target=2)", "adaptive(images=0)", "annealed(start=2)"):
        with pytest.raises(InputError):
            get_probability(wrong)


def test_real_refuses_a_chance_that_it_would_ignore(vae):
    with pytest.raises(InputError, match=r"p=0\.3"):
        get_augmentation("real", LatentAugment(vae, p=0.3))
