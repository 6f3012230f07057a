"""The GAN trainer: learns, augments where it says, refuses what does not fit, draws from no global generator."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from tiny import equal, flat, gan
from torch.utils.data import TensorDataset

from augmentor import LatentAugment
from augmentor._internal.engine import get_engine
from augmentor.data import ArrayDataset
from augmentor.exceptions import DataError, InputError, RangeError, ReferenceSetError, ShapeError
from augmentor.gan import GAN, GANTrainer, get_augmentation
from augmentor.gan.feed import Feed
from augmentor.quality import AutoencoderFeatures, SmallNetFeatures


def are_of(data: ArrayDataset, images: torch.Tensor) -> bool:
    """Whether these float images are all members of a data set."""
    known = {image.numpy().tobytes() for image in data.images.float() / 255}
    return all(image.numpy().tobytes() in known for image in images.detach())


def finite(trainer: GANTrainer) -> bool:
    return all(math.isfinite(value) for row in trainer.history for value in row.values())


# Learning


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
    assert are_of(few, real[:16])
    assert torch.equal(labels[16:], labels[1:16:2])  # every other one
    assert not any(are_of(few, image[None]) for image in real[16:])


def test_r1_comes_every_few_steps_and_the_discriminator_takes_its_turns(few):
    trainer = gan(steps=4, discriminator_steps=2, r1_every=4)
    spy = Spy(trainer)
    trainer.fit(few)
    assert len(spy.seen) == 4 * (2 * 2 + 1) + 2  # R1 in two of the eight turns
    reals = [images for images, _ in spy.seen if not images.requires_grad and are_of(few, images)]
    assert len(reals) == 8
    assert not torch.equal(reals[0], reals[1])  # each turn has a batch of its own


def test_the_generator_gets_the_discriminator_s_last_batch_which_is_read_once(few):
    read = []

    class Noted(TensorDataset):
        def __getitem__(self, index):
            read.append(index)
            return super().__getitem__(index)

    trainer = gan(10, steps=4, batch_size=8, discriminator_steps=2)
    trainer.check(data := Noted(few.images, few.targets))
    read.clear()
    trainer.method.step(0)
    assert len(read) == 2 * 8
    assert len(data) == len(few)


def test_adaptive_p_follows_the_signs_of_real_images(few):
    trainer = gan(augment="ada(p='adaptive(images=160, every=1, start=0.5)')", steps=4, round_steps=1)
    trainer.fit(few)
    p = 0.5
    for row in trainer.history:
        p += math.copysign(16 / 160, row["real_sign"] - 0.6)
        assert row["p"] == pytest.approx(p)


def test_penalties_are_part_of_what_the_discriminator_minimises(few):
    def d_loss(loss, r1_gamma=0.0, r1_every=1):
        trainer = gan(steps=1, loss=loss, r1_gamma=r1_gamma, r1_every=r1_every)
        trainer.fit(few)
        return trainer.history[0]["d_loss"]

    assert d_loss("wgan_gp(weight=1000)") > d_loss("wgan_gp(weight=1)") + 1
    plain, every, every_other = d_loss("hinge"), d_loss("hinge", 1000, 1), d_loss("hinge", 500, 2)
    assert plain + 1e-3 < every == pytest.approx(every_other)


# What does not fit


def test_arguments_that_do_not_fit_are_refused():
    for settings, said in [
        *(({name: 0}, name) for name in ("steps", "batch_size", "round_steps", "r1_every", "lr", "devices")),
        *(({name: 1.5}, name) for name in ("steps", "batch_size", "round_steps", "r1_every", "discriminator_steps")),
        ({"loss": 3}, "loss must be a string such as 'hinge'"),
        ({"lr": math.nan}, "lr must be positive"), ({"r1_gamma": -1}, "r1_gamma"), ({"ema_decay": 1}, "below 1"),
        ({"stop_on": "collapse"}, "stop_on must be a collection"), ({"best_by": "recall"}, "best_by"),
        ({"patience": 2}, "needs a score: pass features="),
        ({"patience": 0, "features": flat}, "patience must be at least 1, got 0"),
        ({"precision": "fp8"}, "precision must be one of fp32, bf16"), ({"augment": "both"}, "needs latent_augment"),
    ]:  # fmt: skip
        with pytest.raises(InputError, match=said):
            gan(**settings)
    with pytest.raises(InputError, match="TrainingMethod"):
        GANTrainer("gan")


def test_data_that_does_not_fit_leaves_nothing_behind(few, vae, tmp_path):
    folder = tmp_path / "run"
    larger = ArrayDataset(torch.zeros(20, 1, 16, 16, dtype=torch.uint8))
    lonely = few.subset(torch.cat([torch.tensor([0]), (few.targets != 0).nonzero().squeeze(1)]))
    for trainer, data, error, said in [
        (gan(out=folder), larger, InputError, r"\(1, 16, 16\) and the networks take \(1, 8, 8\)"),
        (gan(10, out=folder), TensorDataset(few.images), InputError, "an unconditional one"),
        (gan(3, out=folder), few, InputError, "classes 0 to 2"),
        (gan(10, out=folder), TensorDataset(few.images, few.targets - 1), InputError, "leave out the images"),
        (gan(out=folder), TensorDataset(few.images[:0]), DataError, "empty"),
        (gan(out=folder), iter([few[0]]), InputError, "fit takes a map-style data set"),
        (gan(out=folder, features=flat), few.subset(torch.arange(9)), DataError, "at least 10 real images, got 9"),
        (
            gan(10, out=folder, augment="both", latent_augment=LatentAugment(vae, "smote")),
            lonely,
            ReferenceSetError,
            "could recognise generated images by this difference",
        ),
    ]:
        for call in (trainer.check, trainer.fit):
            with pytest.raises(error, match=said):
                call(data)

    # An autoencoder for other images, as transform and as features.
    for augment, features in (("both", None), ("real", None), ("none", AutoencoderFeatures(vae))):
        augmentation = get_augmentation(augment, LatentAugment(vae))
        wide = GAN("dcgan(width=8)", image_shape=(1, 16, 16), augmentation=augmentation)
        with pytest.raises(ShapeError, match=r"takes images \(B, 1, 8, 8\)"):
            GANTrainer(wide, out=folder, features=features, progress=False).fit(larger)
    assert not folder.exists()


def test_values_out_of_range_are_noticed_in_every_batch(few):
    images = few.images.float() / 255
    images[-1] += 1
    with pytest.raises(RangeError, match=r"GANTrainer takes images in .*after the augmentation"):
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
    monkeypatch.setattr("augmentor._internal.progress.DELAY", 0.0)
    gan(progress=True, features=SmallNetFeatures()).fit(few)
    out, err = capfd.readouterr()
    assert out == ""
    assert "train gan" in err
    assert "g_loss" in err
    assert "fd-smallnet=" in err
    assert "fid" not in err
