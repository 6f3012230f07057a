"""`Adversarial`: samples that are hard for a model, and still of their class."""

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
from augmentor.policies import Adversarial, Gaussian, get_policy, list_policies
from augmentor.transform import LatentAugment

RADIUS = 0.3


def draws(count: int, start: int = 0) -> SampleRandom:
    return SampleRandom(sample_keys(3, 0, range(start, start + count)))


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
    reference = ReferenceSet(z, digits.targets[::2], 10)
    assert reference.classifier is not None
    return reference


@pytest.fixture
def some(reference) -> Latents:
    rows = torch.arange(0, len(reference), 20)
    return Latents(reference.z[rows], None, reference.labels[rows])


def decoded(autoencoder: Autoencoder, latents: Latents) -> torch.Tensor:
    with torch.no_grad():
        return autoencoder.decode(autoencoder.stats.unstandardise(latents.z))


def test_it_raises_the_models_loss_more_than_noise_does_and_keeps_the_label(autoencoder, trained, reference, digits):
    # An independent judge, which has learnt the other half of the digits, says whose label can still be seen.
    images, labels = digits.images[1::2].float() / 255, digits.targets[1::2].numpy()
    judge = SVC(C=10).fit(torch.cat([images, autoencoder(images)]).flatten(1).numpy(), np.concatenate([labels, labels]))
    latents = Latents(reference.z, None, reference.labels)
    net = copy.deepcopy(trained).eval().requires_grad_(False)
    loss, kept = {}, {}
    for policy in (Gaussian(RADIUS), Adversarial(net, autoencoder, RADIUS)):
        made = decoded(autoencoder, policy(latents, draws(len(latents)), reference))
        loss[policy.name] = F.cross_entropy(net(made), latents.labels, reduction="none")
        kept[policy.name] = torch.from_numpy(judge.predict(made.flatten(1).numpy())) == latents.labels
    hard, noisy = loss["adversarial"], loss["gaussian"]
    assert kept["adversarial"].float().mean() >= 0.95
    assert hard.mean() > noisy.mean()
    assert hard.median() > 3 * noisy.median()
    assert hard[kept["adversarial"]].mean() > 1.5 * noisy[kept["gaussian"]].mean()


def test_it_stays_within_its_radius(autoencoder, model, reference, some):
    made = Adversarial(model, autoencoder, 0.7)(some, draws(len(some)), reference)
    moved = (made.z - some.z).square().mean(1).sqrt()
    assert (moved <= 0.7 + 1e-5).all()
    assert moved.mean() > 0.2
    assert torch.equal(made.labels, some.labels)


def test_a_row_does_not_depend_on_its_batch_and_applying_is_pure(autoencoder, model, reference, some):
    policy = Adversarial(model, autoencoder)
    params = policy.draw(some, draws(len(some)), reference)
    whole = policy.apply(some, params).z
    assert torch.equal(policy.apply(some, params).z, whole)
    for start, stop in ((0, 1), (1, 30), (30, len(some))):
        rows = torch.arange(start, stop)
        part = policy(some.take(rows), draws(stop - start, start), reference).z
        torch.testing.assert_close(part, whole[rows], atol=1e-4, rtol=1e-4)


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


def test_the_mode_comes_back_after_an_error(autoencoder, reference, some):
    model = nn.Sequential(nn.Flatten(), nn.Linear(63, 10))
    with pytest.raises(RuntimeError):
        Adversarial(model, autoencoder)(some, draws(len(some)), reference)
    assert model.training
    assert model[1].training


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
    assert set(augment.state_dict()) == {f"autoencoder.{name}" for name in autoencoder.state_dict()}


def test_it_pickles_with_its_model(autoencoder, model, reference, some):
    policy = Adversarial(model, autoencoder)
    policy.fit(reference)
    again = pickle.loads(pickle.dumps(policy))
    torch.testing.assert_close(again(some, draws(len(some))).z, policy(some, draws(len(some))).z)


def test_its_text_names_the_model_and_cannot_be_built_from(autoencoder, model):
    text = str(Adversarial(model, autoencoder))
    assert text == "Adversarial(Sequential, radius=0.3, steps=3)"
    assert "adversarial" not in list_policies()
    with pytest.raises(InputError):
        get_policy(text)
    with pytest.raises(InputError):
        get_policy(str(get_policy("gaussian")).replace("gaussian", "adversarial"))


def test_without_labels_or_a_fit_it_says_what_to_do(autoencoder, model, reference, some):
    policy = Adversarial(model, autoencoder)
    with pytest.raises(ReferenceSetError, match=r"augment\.fit\(dataset\)"):
        policy(some, draws(len(some)))
    with pytest.raises(ReferenceSetError, match="labels of at least two classes"):
        policy(Latents(some.z), draws(len(some)), reference)
    with pytest.raises(ReferenceSetError, match="labels of at least two classes"):
        policy(some, draws(len(some)), ReferenceSet(reference.z))


def test_a_model_that_does_not_fit_is_refused(autoencoder, reference, some):
    for model, error in (
        (nn.Identity(), ShapeError),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 1)), ShapeError),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), InputError),  # labels go up to 9
    ):
        with pytest.raises(error):
            Adversarial(model, autoencoder)(some, draws(len(some)), reference)


def test_a_class_that_the_pool_lacks_stays_as_it_is(autoencoder, model, reference, some):
    known = reference.labels != 3
    made = Adversarial(model, autoencoder)(
        some, draws(len(some)), ReferenceSet(reference.z[known], reference.labels[known], 10)
    )
    stayed = (made.z == some.z).all(1)
    assert stayed[some.labels == 3].all()
    assert not stayed[some.labels != 3].all()


@pytest.mark.parametrize("arguments", [{"radius": -0.1}, {"steps": 0}])
def test_arguments_that_make_no_sense_are_refused(autoencoder, model, arguments):
    with pytest.raises(InputError, match="policy 'adversarial' takes a"):
        Adversarial(model, autoencoder, **arguments)
