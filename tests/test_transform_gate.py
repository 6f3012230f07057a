"""`LatentAugment` with a gate: what is rejected is the original to the bit, and the rest depends on nothing new."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from augmentor import LatentAugment, QualityGate
from augmentor.exceptions import InputError, ReferenceSetError
from augmentor.policies import get_policy

COUNT = 16


@pytest.fixture(scope="module")
def fitted(trained_vae, digits) -> LatentAugment:
    """Fitted once. Its policy is so strong that some samples pass, some are drawn again and some are rejected."""
    gate = QualityGate(redraws=2)
    return LatentAugment(copy.deepcopy(trained_vae), "gaussian(std=1.5)", p=1.0, seed=0, gate=gate).fit(digits)


@pytest.fixture
def gated(fitted) -> LatentAugment:
    return copy.deepcopy(fitted)


@pytest.fixture
def levels(digits) -> torch.Tensor:
    return digits.images[:COUNT].clone()


@pytest.fixture
def labels(digits) -> torch.Tensor:
    return digits.targets[:COUNT].clone()


@pytest.mark.parametrize(
    ("images", "network"),
    [(torch.uint8, torch.float32), (torch.float16, torch.float32), (torch.float32, torch.float64),
     (torch.uint8, torch.bfloat16)],
    ids=str,
)  # fmt: skip
def test_what_is_rejected_is_the_original_to_the_bit(gated, levels, labels, images, network):
    given = levels if images == torch.uint8 else (levels / 255).to(images)
    gated.policy = get_policy("gaussian(std=50)")  # every sample fails
    gated.to(network)
    out, same, weights = gated.synthesize(given, labels, return_weights=True)
    assert torch.equal(out, given)
    assert torch.equal(same, labels)
    assert not weights.any()
    assert torch.equal(gated(given, labels)[0], given)
    counts = gated.gate.counts
    assert (counts.samples, counts.drawn, counts.passed) == (2 * COUNT, 6 * COUNT, 0)


def test_weights_tell_which_images_were_replaced(gated, digits):
    images, labels = digits.images[:200], digits.targets[:200]
    out, _, weights = gated.synthesize(images, labels, indices=range(200), return_weights=True)
    assert torch.equal(weights, (out != images).flatten(1).any(1).float())
    counts = gated.gate.counts
    assert (counts.samples, counts.passed) == (200, int(weights.sum()))
    assert 0 < counts.passed < 200 < counts.drawn
    plain = LatentAugment(gated.autoencoder, "gaussian").synthesize(images, return_weights=True)
    assert torch.equal(plain[1], torch.ones(200))


def test_what_is_off_class_is_rejected(gated, digits):
    """Labels that are wrong for the images: hardly any sample agrees with its label."""
    gated.policy = get_policy("gaussian(std=0.5)")
    images, labels = digits.images[:200], digits.targets[:200]
    _, _, right = gated.synthesize(images, labels, seed=1, return_weights=True)
    _, _, wrong = gated.synthesize(images, (labels + 1) % 10, seed=1, return_weights=True)
    assert right.mean() > 0.7
    assert wrong.mean() < 0.1


def test_a_gated_sample_does_not_depend_on_its_batch(gated, digits):
    images, labels = digits.images[:96], digits.targets[:96]
    whole, _, weights = gated.synthesize(images, labels, indices=range(96), return_weights=True)
    for size in (1, 7):
        parts = [
            gated.synthesize(images[at], labels[at], indices=range(96)[at], return_weights=True)
            for at in (slice(start, start + size) for start in range(0, 96, size))
        ]
        assert torch.equal(torch.cat([part[2] for part in parts]), weights)
        assert (torch.cat([part[0] for part in parts]).int() - whole.int()).abs().max() <= 1


def test_copies_agree_and_count_alone(gated, levels, labels, global_rng_untouched):
    twin = copy.deepcopy(gated)
    assert torch.equal(gated(levels, labels)[0], twin(levels, labels)[0])
    twin(levels, labels)
    assert twin.gate.counts.samples == 2 * gated.gate.counts.samples == 2 * COUNT


def test_a_gate_without_real_images_asks_for_fit(vae, levels, labels):
    augment = LatentAugment(vae, p=1.0, gate=QualityGate())
    assert augment.needs_fit
    with pytest.raises(ReferenceSetError, match=r"call augment\.fit\(dataset\)"):
        augment(levels, labels)


def test_weights_have_no_place_in_a_transform(gated, levels, labels):
    gated.gate.action = "weigh"
    with pytest.raises(InputError, match=r"synthesize\(return_weights=True\), or AugmentedLoader"):
        gated(levels, labels)
    out, _, weights = gated.synthesize(levels, labels, return_weights=True)
    assert (out != levels).flatten(1).any(1).all()
    assert 0 <= weights.min() < weights.max() <= 1


def test_an_empty_batch_passes(gated, levels, labels):
    gated.policy = get_policy("smote")
    out, same = gated(levels[:0], labels[:0])
    assert out.shape == (0, 1, 8, 8)
    assert len(same) == 0


def test_samples_that_are_drawn_again_find_reference_samples_in_the_whole_batch(fitted, vae, digits):
    """A gate that was fitted by itself, so that the transform has no reference set."""
    rows = (digits.targets == 3).nonzero()[:24, 0]
    augment = LatentAugment(vae, "smote(k=2)", seed=0, gate=copy.deepcopy(fitted.gate))
    _, labels, weights = augment.synthesize(digits.images[rows], digits.targets[rows], return_weights=True)
    assert augment.gate.counts.drawn > 24  # some were drawn again, at the end a few or one
    assert weights.any()
    assert (labels == 3).all()


def test_soft_labels_of_rejected_samples_are_their_own(vae, digits, levels, labels):
    gate = QualityGate(redraws=1)
    augment = LatentAugment(vae, "interpolate(same_class=False)", seed=0, gate=gate).fit(
        digits.subset(torch.arange(400))
    )
    out, soft, weights = augment.synthesize(levels, labels, return_weights=True)
    rejected = weights == 0
    assert rejected.any()
    assert torch.equal(out[rejected], levels[rejected])
    assert torch.equal(soft[rejected], nn.functional.one_hot(labels[rejected], 10).float())


def test_gradients_flow_through_gated_samples(gated, levels, labels):
    images = (levels / 255).requires_grad_()
    out, _, weights = gated.synthesize(images, labels, return_weights=True)
    out.sum().backward()
    rejected = weights == 0
    assert torch.equal(images.grad[rejected], torch.ones_like(images)[rejected])
    assert (images.grad.flatten(1).abs().sum(1) > 0).all()


def test_a_transform_asks_the_gate_about_labels_also_where_the_policy_does_not_look_at_them(vae, digits):
    images, labels = digits.images[:100], digits.targets[:100]
    augment = LatentAugment(vae, "gaussian(std=1.0)", p=1.0, seed=0, gate=QualityGate(0.9)).fit(digits)
    augment(images, labels)
    assert augment.gate.counts.agreement > 0
    before = augment.gate.counts.agreement
    augment(images)  # without labels there is nothing to agree with
    assert augment.gate.counts.agreement == before
