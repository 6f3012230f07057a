"""`guided` and `Adversarial`: a few steps uphill, inside a ball around each sample and inside its class."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.svm import SVC
from torch import nn

from augmentor._internal.random import SampleRandom, sample_keys
from augmentor.autoencoders import Autoencoder, load_autoencoder
from augmentor.exceptions import InputError, ReferenceSetError, ShapeError
from augmentor.latents import Latents, ReferenceSet
from augmentor.policies import Adversarial, Gaussian, Guided, get_policy, list_policies
from augmentor.transform import LatentAugment


def draws(count: int, start: int = 0, draw_index: int = 0) -> SampleRandom:
    return SampleRandom(sample_keys(3, 0, range(start, start + count), draw_index))


def rms(values: torch.Tensor) -> torch.Tensor:
    return values.flatten(1).square().mean(1).sqrt()


@pytest.fixture(scope="module")
def autoencoder() -> Autoencoder:
    return load_autoencoder("digits").requires_grad_(False).eval()


@pytest.fixture(scope="module")
def trained(digits) -> nn.Module:
    """A small network that has learnt half of the digits."""
    images, labels = digits.images[::2].float() / 255, digits.targets[::2]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(16 * 36, 10)
        )
        optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
        for _ in range(200):
            rows = torch.randint(len(labels), (64,))
            optimizer.zero_grad()
            F.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimizer.step()
    model.zero_grad()
    return model


@pytest.fixture
def model(trained) -> nn.Module:
    return copy.deepcopy(trained).train()


@pytest.fixture(scope="module")
def reference(autoencoder, digits) -> ReferenceSet:
    with torch.no_grad():
        z = autoencoder.stats.standardise(autoencoder.encode(digits.images[::2]).mean)
    return ReferenceSet(z, digits.targets[::2], 10)


@pytest.fixture(params=["guided", "adversarial"])
def policy_of(request, model, autoencoder):
    """Makes the policy with these arguments."""
    if request.param == "guided":
        return Guided
    return lambda *args, **kwargs: Adversarial(model, autoencoder, *args, **kwargs)


@pytest.fixture
def some(reference) -> Latents:
    rows = torch.arange(0, len(reference), 20)
    return Latents(reference.z[rows], None, reference.labels[rows])


@pytest.fixture(scope="module")
def outcome(autoencoder, reference, digits, trained):
    """Policy => latents of the whole reference set, the loss of `trained`, and which labels can still be seen.

    An independent classifier, which has learnt the other half of the digits, says the latter.
    """
    images, labels = digits.images[1::2].float() / 255, digits.targets[1::2].numpy()
    seen = torch.cat([images, autoencoder(images)]).flatten(1).numpy()
    other, net = SVC(C=10).fit(seen, np.concatenate([labels, labels])), copy.deepcopy(trained).eval()
    latents = Latents(reference.z, None, reference.labels)

    def of(policy) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        z = policy(latents, draws(len(latents)), reference).z
        with torch.no_grad():
            made = autoencoder.decode(autoencoder.stats.unstandardise(z))
            loss = F.cross_entropy(net(made), latents.labels, reduction="none")
        return z, loss, torch.from_numpy(other.predict(made.flatten(1).numpy())) == latents.labels

    return of


# --- both


def test_it_stays_within_its_radius_and_draws_differ_also_after_a_pickle(policy_of, reference, some):
    policy = policy_of(0.7)
    policy.fit(reference)
    policy = pickle.loads(pickle.dumps(policy))
    first, second = (policy(some, draws(len(some), draw_index=draw_index)) for draw_index in (0, 1))
    assert (rms(first.z - some.z) <= 0.7 + 1e-5).all()
    assert rms(first.z - some.z).mean() > 0.2
    assert rms(first.z - second.z).mean() > 0.1
    assert first.labels is some.labels


def test_a_row_does_not_depend_on_its_batch_and_applying_is_pure(policy_of, reference, some):
    policy = policy_of()
    params = policy.draw(some, draws(len(some)), reference)
    whole = policy.apply(some, params).z
    assert torch.equal(policy.apply(some, params).z, whole)
    for start, stop in ((0, 1), (1, 30), (30, len(some))):
        part = policy(some.take(torch.arange(start, stop)), draws(stop - start, start), reference).z
        torch.testing.assert_close(part, whole[start:stop], atol=1e-4, rtol=1e-4)


def test_it_works_whatever_the_gradient_mode_and_the_displacement_is_a_constant(policy_of, reference, some):
    policy = policy_of()
    z = some.z.clone().requires_grad_()
    expected = policy(Latents(z, None, some.labels), draws(len(some)), reference).z
    expected.sum().backward()
    assert torch.equal(z.grad, torch.ones_like(z))
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            made = policy(Latents(some.z.clone(), None, some.labels.clone()), draws(len(some)), reference).z
        assert not made.requires_grad
        torch.testing.assert_close(made.clone(), expected.detach())


def test_one_hot_labels_are_labels(policy_of, reference, some):
    soft = Latents(some.z, None, F.one_hot(some.labels, 10).float())
    made = [policy_of()(each, draws(len(some)), reference).z for each in (some, soft)]
    torch.testing.assert_close(*made)


def test_without_a_fit_samples_are_kept_and_arguments_that_make_no_sense_are_refused(policy_of, some):
    made = policy_of()(some, draws(len(some)))
    assert made.kept.all()
    assert torch.equal(made.z, some.z)
    for arguments in ({"radius": -0.1}, {"steps": 0}, {"steps": 2.5}):
        with pytest.raises(InputError, match="takes a"):
            policy_of(**arguments)


# --- guided


def test_guided_is_more_diverse_than_noise_of_the_same_size_and_keeps_more_labels(reference, outcome):
    (guided, _, kept), (noisy, _, kept_by_noise) = outcome(Guided(1.0)), outcome(Gaussian(1.0))
    far_guided, far_noisy = (reference.nearest(z, 5)[0].mean() for z in (guided, noisy))
    assert far_guided > 1.08 * far_noisy
    assert kept.float().mean() > max(0.95, kept_by_noise.float().mean() + 0.05)


@pytest.mark.parametrize("weight", [Guided.weight, 0.0])
def test_the_label_is_kept_as_the_classifier_sees_it_or_the_sample_stays(weight, monkeypatch):
    monkeypatch.setattr(Guided, "weight", weight)  # at 0 nothing but the fall-back keeps the label
    labels = torch.arange(3).repeat_interleave(30)  # three classes that touch
    z = torch.randn(90, 4, generator=torch.Generator().manual_seed(0)) + 2.5 * (labels - 1)[:, None]
    reference = ReferenceSet(z, labels)
    latents, folds = Latents(reference.z, None, reference.labels), reference.classifier.folds
    out = Guided(2.0)(latents, draws(90), reference)
    before, after = (reference.classifier.agreement(each.z, labels, folds) for each in (latents, out))
    stayed = rms(out.z - latents.z) == 0
    assert stayed.float().mean() < 0.4
    assert ((after >= before.clamp_max(np.log(0.98)) - 1e-4) | stayed).all()


@pytest.mark.parametrize("labels", [None, torch.tensor([0, 0, 0, 1, 1, 1, 2])], ids=["none", "a class of one"])
def test_guided_does_without_labels_and_with_a_class_of_one_image_and_comes_near_its_radius(labels):
    reference = ReferenceSet(torch.randn(7, 2, 3, 3, generator=torch.Generator().manual_seed(0)), labels)
    moved = rms(Guided(0.5)(Latents(reference.z, None, labels), draws(7), reference).z - reference.z)
    assert (moved <= 0.5 + 1e-5).all()
    assert labels is not None or moved.mean() > 0.45


def test_in_a_transform_what_a_digit_becomes_does_not_depend_on_its_batch(digits):
    augment = LatentAugment("digits", "guided", p=1.0, seed=0).fit(digits.subset(torch.arange(0, len(digits), 2)))
    numbers = np.arange(0, 1700, 53)
    images, labels = digits.images[numbers], digits.targets[numbers]
    together, _ = augment.synthesize(images, labels, indices=numbers)
    for rows in (slice(0, 1), slice(4, 40)):
        part, _ = augment.synthesize(images[rows], labels[rows], indices=numbers[rows])
        assert (part.int() - together[rows].int()).abs().max() <= 1
    assert (together != images).flatten(1).any(1).all()


# --- Adversarial


def test_adversarial_raises_the_models_loss_more_than_noise_does_and_keeps_the_label(autoencoder, trained, outcome):
    net = copy.deepcopy(trained).eval().requires_grad_(False)
    (_, hard, kept), (_, noisy, kept_by_noise) = outcome(Adversarial(net, autoencoder, 0.3)), outcome(Gaussian(0.3))
    assert kept.float().mean() >= 0.95
    assert hard.mean() > noisy.mean()
    assert hard.median() > 3 * noisy.median()
    assert hard[kept].mean() > 1.5 * noisy[kept_by_noise].mean()


def test_the_model_is_left_as_it_was(autoencoder, model, reference, some, global_rng_untouched):
    model[1].eval()  # a frozen norm in a model that is being trained
    model[5].bias.grad = torch.ones(10)
    modes = [module.training for module in model.modules()]
    before = copy.deepcopy(model.state_dict())
    policy = Adversarial(model, autoencoder)
    made = policy(some, draws(len(some)), reference).z
    assert [module.training for module in model.modules()] == modes
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert torch.equal(model[5].bias.grad, torch.ones(10))
    assert model[0].weight.grad is None
    assert model[0].weight.requires_grad
    torch.testing.assert_close(policy(some, draws(len(some)), reference).z, made)  # no dropout, no batch statistics


def test_a_class_that_the_reference_set_lacks_stays_as_it_is(autoencoder, model, reference, some):
    known = reference.labels != 3
    others = ReferenceSet(reference.z[known], reference.labels[known], 10)
    stayed = (Adversarial(model, autoencoder)(some, draws(len(some)), others).z == some.z).all(1)
    assert stayed[some.labels == 3].all()
    assert not stayed[some.labels != 3].all()


def test_it_follows_the_model_as_it_learns(autoencoder, model, reference, some):
    policy = Adversarial(model, autoencoder)
    before = policy(some, draws(len(some)), reference).z
    with torch.no_grad():
        model[5].weight.copy_(-model[5].weight)
    assert not torch.allclose(policy(some, draws(len(some)), reference).z, before, atol=1e-2)


def test_in_a_transform_the_model_is_no_part_of_it(autoencoder, model, digits):
    augment = LatentAugment(autoencoder, Adversarial(model, autoencoder), p=1.0, seed=0)
    augment.fit(digits.subset(torch.arange(300)))
    images, labels = augment(digits.images[:20], digits.targets[:20])
    assert images.shape == (20, 1, 8, 8)
    assert torch.equal(labels, digits.targets[:20])
    assert not any(module is model for module in augment.modules())


def test_it_cannot_be_built_from_a_text(autoencoder, model):
    assert "adversarial" not in list_policies()
    for text in (str(Adversarial(model, autoencoder)), "adversarial(radius=0.3)"):
        with pytest.raises(InputError):
            get_policy(text)


def test_labels_and_models_that_do_not_fit_are_refused_and_the_model_keeps_its_mode(autoencoder, reference, some):
    for model, error in (
        (nn.Identity(), ShapeError),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 1)), ShapeError),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), InputError),  # labels go up to 9
        (nn.Sequential(nn.Flatten(), nn.Linear(63, 10)), RuntimeError),
    ):
        with pytest.raises(error):
            Adversarial(model, autoencoder)(some, draws(len(some)), reference)
        assert all(module.training for module in model.modules())
    for latents, real in ((Latents(some.z), reference), (some, ReferenceSet(reference.z))):
        with pytest.raises(ReferenceSetError, match="labels of at least two classes"):
            Adversarial(model, autoencoder)(latents, draws(len(some)), real)
