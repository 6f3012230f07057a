"""`guided`: new samples that are further from the real ones and still of their class."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.svm import SVC

from augmentor._internal.random import SampleRandom, sample_keys
from augmentor.exceptions import InputError, ReferenceSetError
from augmentor.latents import Latents, ReferenceSet
from augmentor.policies import Gaussian, Guided, LatentPolicy, get_policy
from augmentor.policies._ascent import SURE
from augmentor.transform import LatentAugment


def draws(count: int, copy: int = 0) -> SampleRandom:
    return SampleRandom(sample_keys(3, 0, range(count), copy))


def rms(values: torch.Tensor) -> torch.Tensor:
    return values.flatten(1).square().mean(1).sqrt()


def clusters(shape: tuple[int, ...] = (4,), *, labels: bool = True, each: int = 30) -> ReferenceSet:
    """Three classes that touch."""
    numbers = torch.arange(3).repeat_interleave(each)
    z = torch.randn(3 * each, *shape, generator=torch.Generator().manual_seed(0))
    return ReferenceSet(z + 2.5 * (numbers - 1).reshape(-1, *(1 for _ in shape)), numbers if labels else None)


def members(reference: ReferenceSet) -> Latents:
    return Latents(reference.z, None, reference.labels if reference.labelled else None)


def shift(policy: LatentPolicy, reference: ReferenceSet, copy: int = 0) -> torch.Tensor:
    latents = members(reference)
    policy.fit(reference)
    return policy(latents, draws(len(latents), copy), reference).z - latents.z


@pytest.fixture(scope="module")
def augment(digits):
    return LatentAugment("digits", "guided", p=1.0, seed=0).fit(digits.subset(torch.arange(0, len(digits), 2)))


@pytest.fixture(scope="module")
def judge(augment, digits):
    """Says whether images show their label; learnt from digits that the reference set has not got."""
    images, labels = digits.images[1::2].float() / 255, digits.targets[1::2].numpy()
    with torch.no_grad():
        seen = torch.cat([images, augment.autoencoder(images)]).flatten(1).numpy()
    machine = SVC(C=10).fit(seen, np.concatenate([labels, labels]))

    def kept(latents: Latents) -> float:
        with torch.no_grad():
            made = augment.autoencoder.decode(augment.autoencoder.stats.unstandardise(latents.z))
        return float((machine.predict(made.flatten(1).numpy()) == latents.labels.numpy()).mean())

    return kept


@pytest.mark.parametrize("radius", [0.5, 1.0])
def test_it_is_more_diverse_than_noise_of_the_same_size_and_keeps_more_labels(augment, judge, radius):
    reference, latents = augment.reference, members(augment.reference)
    guided, noisy = (policy(latents, draws(len(latents)), reference) for policy in (Guided(radius), Gaussian(radius)))
    far_guided, far_noisy = (reference.nearest(out.z, 5)[0].mean() for out in (guided, noisy))
    assert far_guided > 1.08 * far_noisy
    assert judge(guided) > 0.95
    assert judge(guided) > judge(noisy) + 0.05


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("shape", [(4,), (2, 3, 3)], ids=["vector", "feature map"])
def test_it_stays_within_its_radius_and_comes_near_it(shape, steps):
    moved = rms(shift(Guided(0.7, steps=steps), clusters(shape)))
    assert (moved <= 0.7 + 1e-5).all()
    assert moved.mean() > 0.5


@pytest.mark.parametrize("weight", [Guided.weight, 0.0])
def test_the_label_is_kept_as_the_classifier_sees_it_or_the_sample_stays(weight, monkeypatch):
    monkeypatch.setattr(Guided, "weight", weight)  # at 0 nothing but the fall-back keeps the label
    reference = clusters()
    latents = members(reference)
    out = Guided(2.0)(latents, draws(len(latents)), reference)
    before = reference.classifier.agreement(latents.z, latents.labels, reference.classifier.folds)
    after = reference.classifier.agreement(out.z, latents.labels, reference.classifier.folds)
    stayed = rms(out.z - latents.z) == 0
    assert stayed.float().mean() < 0.4
    assert ((after >= before.clamp_max(np.log(SURE)) - 1e-4) | stayed).all()


def test_copies_of_a_sample_differ():
    reference = clusters()
    first, second = (shift(Guided(1.0), reference, copy) for copy in (0, 1))
    assert rms(first - second).mean() > 0.5


def test_what_a_digit_becomes_does_not_depend_on_its_companions(augment, digits):
    numbers = np.arange(0, 1700, 53)
    images, labels = digits.images[numbers], digits.targets[numbers]
    together, _ = augment.synthesize(images, labels, indices=numbers)
    for rows in (slice(0, 1), slice(4, 11), slice(11, 40)):
        part, _ = augment.synthesize(images[rows], labels[rows], indices=numbers[rows])
        assert (part.int() - together[rows].int()).abs().max() <= 1
    assert (together != images).flatten(1).any(1).all()


def test_it_needs_a_fitted_pool(digits):
    with pytest.raises(ReferenceSetError, match=r"guided is not fitted; call augment\.fit\(dataset\)"):
        LatentAugment("digits", "guided", p=1.0)(digits.images[:8], digits.targets[:8])


def test_labels_do_without_and_one_hot_labels_are_labels():
    reference = clusters(labels=False)
    assert rms(shift(Guided(0.5), reference)).mean() > 0.45
    reference = clusters()
    soft = Latents(reference.z, None, torch.nn.functional.one_hot(reference.labels).float())
    made = Guided()(soft, draws(len(soft)), reference)
    torch.testing.assert_close(made.z, Guided()(members(reference), draws(len(soft)), reference).z)
    assert made.labels is soft.labels


def test_a_class_of_one_image_can_be_augmented():
    reference = ReferenceSet(
        torch.randn(7, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 0, 0, 1, 1, 1, 2])
    )
    assert (rms(shift(Guided(0.5), reference)) <= 0.5 + 1e-5).all()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_it_works_whatever_the_gradient_mode_and_leaves_no_graph(mode):
    reference = clusters()
    expected = shift(Guided(), reference)
    with mode():
        latents = Latents(reference.z.clone(), None, reference.labels.clone())
        made = Guided()(latents, draws(len(latents)), reference).z
    assert not made.requires_grad
    torch.testing.assert_close(made - reference.z, expected)


def test_for_gradients_the_displacement_is_a_constant():
    reference = clusters()
    z = reference.z.clone().requires_grad_()
    Guided()(Latents(z, None, reference.labels), draws(len(z)), reference).z.sum().backward()
    assert torch.equal(z.grad, torch.ones_like(z))


@pytest.mark.parametrize("spec", ["guided(steps=0)", "guided(steps=2.5)", "guided(k=0)", "guided(radius=-1)"])
def test_arguments_that_make_no_sense_are_refused(spec):
    with pytest.raises(InputError, match="policy 'guided' takes a"):
        get_policy(spec)


def test_radius_zero_changes_nothing_and_says_so():
    assert Guided(0).is_identity()
    assert (shift(Guided(0), clusters()) == 0).all()
