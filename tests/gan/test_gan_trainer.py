"""The GAN trainer: learns, augments where it says, refuses what does not fit, draws from no global generator."""

from __future__ import annotations

import copy
import importlib
import math
import random

import numpy as np
import pytest
import torch
from tiny import equal, flat, gan
from torch.utils.data import TensorDataset
from tqdm import tqdm

from augmentor import LatentAugment
from augmentor._internal.engine import get_engine
from augmentor.data import ArrayDataset
from augmentor.exceptions import DataError, InputError, RangeError, ReferenceSetError, ShapeError
from augmentor.gan import GAN, GANTrainer, get_augmentation
from augmentor.gan.feed import Feed
from augmentor.gan.losses import LOSSES
from augmentor.quality import AutoencoderFeatures


def are_of(data: ArrayDataset, images: torch.Tensor) -> bool:
    """Whether these float images are all members of a data set."""
    known = {image.numpy().tobytes() for image in data.images.float() / 255}
    return all(image.numpy().tobytes() in known for image in images.detach())


def finite(trainer: GANTrainer) -> bool:
    return all(math.isfinite(value) for row in trainer.history for value in row.values())


# Learning


@pytest.mark.slow
def test_it_learns_digits(digits, vae):
    method = GAN("dcgan(latent_dim=16, width=16)", image_shape=(1, 8, 8), num_classes=10, lr=1e-3)
    settings = {"steps": 220, "batch_size": 32, "round_steps": 55, "ema_decay": 0.95, "progress": False}
    trainer = GANTrainer(method, features=AutoencoderFeatures(vae), **settings)
    trainer.fit(digits.subset(torch.arange(500)))
    first, last = trainer.history[0], trainer.history[-1]
    assert last["fid"] < 0.6 * first["fid"]
    assert last["kid"] < 0.6 * first["kid"]


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_every_loss_moves_both_networks(loss, few):
    trainer = gan(loss=str(LOSSES[loss].example()))
    before = copy.deepcopy(trainer.method.networks())
    trainer.fit(few)
    assert not any(equal(before[part], network) for part, network in trainer.method.networks().items())
    assert [row["step"] for row in trainer.history] == [2, 3]
    assert finite(trainer)
    assert ({"real_sign", "fake_sign"} <= trainer.history[0].keys()) == (loss != "wgan_gp")


@pytest.mark.parametrize("num_classes", [0, 10])
def test_policies_with_neighbours_are_fitted_on_the_data(num_classes, few, vae):
    augment = LatentAugment(vae, "smote(k=3)")
    trainer = gan(num_classes, augment="both", latent_augment=augment)
    trainer.fit(few)
    assert len(augment.reference) == len(few)
    assert augment.reference.labelled == (num_classes > 0)  # without classes all may be neighbours
    assert finite(trainer)


def test_data_of_other_kinds(few):
    small = gan()
    small.fit(few.subset(torch.arange(5)))  # fewer than a batch
    assert finite(small)
    images = TensorDataset(few.images.float() / 255)
    assert equal(gan().fit([items[0] for items in images]), gan().fit(few))  # float, without labels


def test_the_averaged_generator_is_what_comes_back(few):
    one = gan(steps=1)
    first = one.fit(few)
    assert equal(first, one.method.generator)  # nothing to average yet
    two = gan(steps=2, ema_decay=0.9)
    second = two.fit(few)
    pairs = zip(first.parameters(), two.method.generator.parameters(), second.parameters(), strict=True)
    for start, raw, averaged in pairs:
        torch.testing.assert_close(averaged, 0.9 * start + 0.1 * raw)


# What the discriminator sees


class Spy:
    """Notes what the discriminator is given, and what goes through the transform."""

    def __init__(self, trainer: GANTrainer):
        self.seen: list[tuple[torch.Tensor, torch.Tensor | None]] = []
        self.replaced: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.gradients: list[torch.Tensor] = []
        trainer.method.discriminator.register_forward_pre_hook(lambda _, arguments: self.seen.append(arguments))
        augment = getattr(trainer.method.augmentation, "latent_augment", None)
        if augment is not None:
            self.replace = augment.replace
            augment.replace = self._replace

    def _replace(self, images, labels, random, p):
        made, labels = self.replace(images, labels, random, p)
        if images.requires_grad:
            images.register_hook(self.gradients.append)
        self.replaced.append((images, made))
        return made, labels


def test_both_is_on_reals_and_fakes_in_both_steps_and_lets_gradients_through(few, vae):
    trainer = gan(augment="both", latent_augment=LatentAugment(vae, p=1.0), steps=1, r1_gamma=0)
    spy = Spy(trainer)
    trainer.fit(few)

    # The discriminator's step on reals and fakes, and the generator's on fakes: each went through the transform.
    assert len(spy.replaced) == len(spy.seen) == 3
    for (images, _), (before, made) in zip(spy.seen, spy.replaced, strict=True):
        assert images is made
        assert len(before) == len(made) == 16
        assert (before - made).abs().flatten(1).amax(1).min() > 1e-3  # every row was replaced
    real, fake, learning = (before for before, _ in spy.replaced)
    assert are_of(few, real)
    # Of the three only the generator's fakes carry gradients, and every image gets one through encoder and decoder.
    assert [images.requires_grad for images in (real, fake, learning)] == [False, False, True]
    assert len(spy.gradients) == 1
    assert (spy.gradients[0].flatten(1).abs().amax(1) > 0).all()
    assert all(not weight.requires_grad and weight.grad is None for weight in vae.parameters())


def test_real_gives_the_discriminator_more_reals_than_came(few, vae):
    trainer = gan(10, augment="real(ratio=0.5)", latent_augment=LatentAugment(vae), steps=1, r1_gamma=0)
    spy = Spy(trainer)
    trainer.fit(few)
    (real, labels), (fake, _), (learning, _) = spy.seen
    assert len(real) == len(labels) == 16 + 8
    assert len(fake) == len(learning) == 16
    batch = trainer.method.feed.batch(0)
    assert torch.equal(real[:16], batch.images)
    assert torch.equal(labels, torch.cat([batch.labels, batch.labels[1::2]]))  # every other one
    assert (real[16:] - batch.images[1::2]).abs().flatten(1).amax(1).min() > 1e-3


def test_r1_comes_every_few_steps_and_the_discriminator_takes_its_turns(few):
    trainer = gan(steps=4, discriminator_steps=2, r1_every=4)
    spy = Spy(trainer)
    trainer.fit(few)
    assert len(spy.seen) == 4 * (2 * 2 + 1) + 2  # R1 in two of the eight turns
    reals = [images for images, _ in spy.seen if not images.requires_grad and are_of(few, images)]
    assert len(reals) == 8
    assert not torch.equal(reals[0], reals[1])  # each turn has a batch of its own


@pytest.mark.parametrize(("loss", "augment"), [("lsgan", "ada"), ("wgan_gp", "none")])
def test_the_discriminator_minimises_its_loss_and_the_penalties_and_adaptive_p_is_told(few, monkeypatch, loss, augment):
    module = importlib.import_module("augmentor.gan.methods._adversarial")
    trainer = gan(steps=1, loss=loss, augment=augment, r1_gamma=0.5, r1_every=2)
    trainer.fit(few)
    method, seen, told = trainer.method, {}, []

    def noting(name, function):
        def noted(*arguments):
            seen[name] = (arguments, function(*arguments))
            return seen[name][1]

        return noted

    for name in ("discriminator", "penalty"):
        monkeypatch.setattr(method.loss, name, noting(name, getattr(method.loss, name)))
    monkeypatch.setattr(module, "r1_penalty", noting("r1", module.r1_penalty))
    monkeypatch.setattr(method.feed.engine, "minimise", noting("minimise", lambda *_: None))
    monkeypatch.setattr(method.augmentation, "observe", lambda *arguments: told.append(arguments))
    method.discriminator_step(2)
    total = seen["discriminator"][1] + seen["penalty"][1] + 0.5 * 2 * seen["r1"][1]
    assert torch.allclose(seen["minimise"][0][0], total)
    assert seen["minimise"][0][1] is method.optimizers["discriminator"]
    assert bool(seen["penalty"][1] > 0) == (loss == "wgan_gp")
    assert bool(seen["r1"][1] > 0)
    of_reals = method.loss.signs(seen["discriminator"][0][0])
    assert told == ([(of_reals, 16)] if augment == "ada" else [])


# What does not fit


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        *(({name: 0}, name) for name in ("steps", "batch_size", "round_steps", "r1_every", "lr", "devices")),
        ({"lr": math.nan}, "lr is positive"),
        ({"r1_gamma": -1}, "r1_gamma"),
        ({"ema_decay": 1}, "below 1"),
        ({"stop_on": "collapse"}, "stop_on is a collection"),
        ({"best_by": "recall"}, "best_by"),
        ({"precision": "fp8"}, "precision is one of fp32, bf16"),
        ({"augment": "both"}, "needs latent_augment"),
    ],
    ids=str,
)
def test_arguments_that_do_not_fit_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        gan(**settings)


def test_what_is_no_training_method_is_refused():
    with pytest.raises(InputError, match="TrainingMethod"):
        GANTrainer("gan")


def test_data_that_does_not_fit_leaves_nothing_behind(few, vae, tmp_path):
    folder = tmp_path / "run"
    larger = ArrayDataset(torch.zeros(20, 1, 16, 16, dtype=torch.uint8))
    shifted = torch.cat([torch.zeros(1, 1, 8, 8), 2 * few.images.float() / 255 - 1])
    lonely = few.subset(torch.cat([torch.tensor([0]), (few.targets != 0).nonzero().squeeze(1)]))
    smote = {"augment": "real", "latent_augment": LatentAugment(vae, "smote")}
    for trainer, data, error, said in [
        (gan(out=folder), larger, InputError, r"\(1, 16, 16\) and the networks take \(1, 8, 8\)"),
        (gan(10, out=folder), TensorDataset(few.images), InputError, "use num_classes=0"),
        (gan(3, out=folder), few, InputError, "classes 0 to 2"),
        (gan(out=folder), TensorDataset(few.images[:0]), DataError, "empty"),
        (gan(out=folder), TensorDataset(shifted), RangeError, r"GANTrainer takes images in .*normalise after"),
        (gan(out=folder, features=flat), few.subset(torch.arange(9)), DataError, "at least 10 real images, got 9"),
        (gan(10, out=folder, **smote), lonely, ReferenceSetError, "class 0 has 1"),
    ]:
        with pytest.raises(error, match=said):
            trainer.fit(data)

    # An autoencoder for other images, as transform and as features.
    for augment, features in (("both", None), ("real", None), ("none", AutoencoderFeatures(vae))):
        augmentation = get_augmentation(augment, LatentAugment(vae, p=0.1))
        wide = GAN("dcgan(width=8)", image_shape=(1, 16, 16), augmentation=augmentation)
        with pytest.raises(ShapeError, match=r"takes images \(B, 1, 8, 8\)"):
            GANTrainer(wide, out=folder, features=features, progress=False).fit(larger)
    assert not folder.exists()


def test_values_out_of_range_are_noticed_in_every_batch(few):
    images = few.images.float() / 255
    images[-1] += 1
    with pytest.raises(RangeError, match="GANTrainer takes images in"):
        gan(steps=2 * len(few) // 16).fit(TensorDataset(images))


# Random numbers, and the error stream


def test_an_image_that_a_batch_holds_twice_has_a_random_sequence_for_each(few):
    feed = Feed(few.subset(torch.arange(10)), 8, 0, get_engine("cpu", 1, "fp32"), labelled=False)
    for number in range(6):
        assert len(set(feed.batch(number).keys.tolist())) == 8
    assert any(len(set(feed.batch(number).indices.tolist())) < 8 for number in range(6))


def test_the_global_generators_are_not_drawn_from(few, vae, global_rng_untouched):
    states = np.random.get_state(), random.getstate()
    settings = {"augment": "both", "latent_augment": LatentAugment(vae), "features": AutoencoderFeatures(vae)}
    gan(10, loss="wgan_gp", **settings).fit(few)
    assert all(np.array_equal(a, b) for a, b in zip(states[0], np.random.get_state(), strict=True))
    assert states[1] == random.getstate()


def test_progress_goes_to_the_error_stream_only_when_asked(few, capfd, monkeypatch):
    gan().fit(few)
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr("augmentor.gan.trainer.tqdm", lambda *a, **k: tqdm(*a, **{**k, "delay": 0}))
    gan(progress=True).fit(few)
    out, err = capfd.readouterr()
    assert out == ""
    assert "train gan" in err
    assert "g_loss" in err
