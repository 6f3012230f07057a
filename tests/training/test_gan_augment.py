"""What becomes of a GAN's batches: shapes, noise, labels and gradients of each augmentation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from augmentor import LatentAugment
from augmentor.training._gan_augment import Batch, batch_keys, gan_augmentations


@pytest.fixture
def batch(digits) -> Batch:
    images = digits.images[:12].float() / 255
    return Batch(images, digits.targets[:12], batch_keys(0, "test", 0, np.arange(12)))


def build(name, vae, *, p=1.0, ratio=1.0):
    return gan_augmentations.get(name)(LatentAugment(vae, p=p), ratio)


def nearest(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).flatten(1).abs().amax(1).min())


def test_the_three_of_them():
    assert gan_augmentations.names() == ["both", "none", "real"]


def test_none_needs_no_transform_and_touches_nothing(batch):
    nothing = gan_augmentations.get("none")()
    images, labels = nothing.real(batch)
    assert images is batch.images
    assert labels is batch.labels
    assert nothing.fake(batch) is batch.images


@pytest.mark.parametrize("ratio", [0.0, 0.25, 1.0, 2.5])
def test_real_adds_decoded_samples(batch, vae, ratio):
    images, labels = build("real", vae, ratio=ratio).real(batch)
    assert len(images) == len(labels) == 12 + round(12 * ratio)
    assert torch.equal(images[:12], batch.images)
    assert torch.equal(labels, batch.labels.repeat(4)[: len(labels)])
    assert 0 <= images.min() <= images.max() <= 1
    assert build("real", vae, ratio=ratio).fake(batch) is batch.images


def test_real_makes_another_sample_of_each_copy(batch, vae):
    images, _ = build("real", vae, ratio=2.0).real(batch)
    assert nearest(images[12:24], images[24:36]) > 1e-3


def test_real_works_without_labels(batch, vae):
    images, labels = build("real", vae).real(batch._replace(labels=None))
    assert len(images) == 24
    assert labels is None


@pytest.mark.parametrize("side", ["real", "fake"])
def test_both_replaces_images_with_the_transforms_chance(batch, vae, side):
    def changed(p):
        made = getattr(build("both", vae, p=p), side)(batch)
        made = made[0] if side == "real" else made
        assert made.shape == batch.images.shape
        return (made != batch.images).flatten(1).any(1).tolist()

    assert all(changed(1.0))
    some = changed(0.5)
    assert 0 < sum(some) < 12
    assert some == changed(0.5)


def test_both_with_no_chance_leaves_all(batch, vae):
    with pytest.warns(UserWarning, match="p=0 perturbs nothing"):
        both = build("both", vae, p=0)
    assert torch.equal(both.fake(batch), batch.images)


@pytest.mark.parametrize("p", [0.5, 1.0])
def test_gradients_flow_through_what_is_replaced_and_what_is_not(batch, vae, p):
    images = batch.images.clone().requires_grad_()
    made = build("both", vae, p=p).fake(batch._replace(images=images))
    replaced = (made != images).flatten(1).any(1)
    (gradient,) = torch.autograd.grad(made.sum(), images)
    assert torch.equal(gradient[~replaced], torch.ones_like(gradient[~replaced]))
    through = gradient[replaced].flatten(1)
    assert (through.abs().amax(1) > 0).all()
    assert (through != 1).any(1).all()


def test_reals_and_fakes_get_the_same_operation(batch, vae):
    both = build("both", vae)
    assert torch.equal(both.real(batch)[0], both.fake(batch))


def test_keys_differ_between_seeds_purposes_steps_and_rows():
    cases = [(s, p, n) for s in (0, 1) for p in ("real", "fake", "generator") for n in (0, 1)]
    keys = np.concatenate([batch_keys(seed, purpose, step, np.arange(50)) for seed, purpose, step in cases])
    assert len(np.unique(keys)) == len(keys) == 50 * len(cases)
