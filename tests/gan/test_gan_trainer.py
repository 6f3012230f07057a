"""The GAN trainer: learns, augments where it says, resumes exactly, keeps the best, refuses what does not fit."""

from __future__ import annotations

import copy
import importlib
import io
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset
from tqdm import tqdm

from augmentor import LatentAugment
from augmentor._internal.engine import get_engine
from augmentor._internal.random import seeded
from augmentor._internal.weights import load_network, read_header
from augmentor.data import ArrayDataset
from augmentor.exceptions import (
    DataError,
    InputError,
    OutputError,
    RangeError,
    ReferenceSetError,
    ShapeError,
    TrainingError,
    UnknownNameError,
)
from augmentor.gan import GAN, discriminators, generators, get_augmentation, losses
from augmentor.gan.feed import Feed
from augmentor.gan.losses import Hinge
from augmentor.gan.networks import get_discriminator, get_generator
from augmentor.quality import AutoencoderFeatures
from augmentor.training import GANTrainer

BATCH = 16


def networks(num_classes: int = 0, name: str = "dcgan"):
    """A tiny pair for (1,8,8), the same at every call."""
    with seeded(0, "networks"):
        return get_generator(name).example(num_classes), get_discriminator(name).example(num_classes)


def gan(num_classes: int = 0, *, name: str = "dcgan", **settings) -> GANTrainer:
    """A trainer of the plain training method; settings are sorted out between the two, and the augmentation."""
    augment = {name: settings.pop(name) for name in ("latent_augment", "ratio", "p") if name in settings}
    augmentation = get_augmentation(settings.pop("augment", "none"), **augment)
    of_system = ("loss", "lr", "r1_gamma", "r1_every", "discriminator_steps")
    parts = {name: settings.pop(name) for name in of_system if name in settings}
    method = GAN(networks(num_classes, name), augmentation=augmentation, **parts)
    return GANTrainer(method, **{"steps": 3, "batch_size": BATCH, "round_steps": 2, "progress": False, **settings})


def equal(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    one, other = a.state_dict(), b.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def are_of(data: ArrayDataset, images: torch.Tensor) -> bool:
    """Whether these float images are all members of a data set."""
    known = {image.numpy().tobytes() for image in data.images.float() / 255}
    return all(image.numpy().tobytes() in known for image in images.detach())


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def few(digits) -> ArrayDataset:
    return digits.subset(torch.arange(100))


# Learning


def test_it_learns_digits(digits, vae):
    with seeded(0, "networks"):
        pair = (
            get_generator("dcgan")((1, 8, 8), latent_dim=16, width=16, num_classes=10),
            get_discriminator("dcgan")((1, 8, 8), width=16, num_classes=10),
        )
    trainer = GANTrainer(
        GAN(pair, lr=1e-3), steps=220, batch_size=32, round_steps=55, ema_decay=0.95, features=AutoencoderFeatures(vae),
        progress=False,
    )  # fmt: skip
    trainer.fit(digits.subset(torch.arange(500)))
    first, last = trainer.history[0], trainer.history[-1]
    assert last["fid"] < 0.6 * first["fid"]
    assert last["kid"] < 0.6 * first["kid"]


@pytest.mark.parametrize("loss", losses.names())
def test_every_loss_moves_both_networks(loss, few):
    trainer = gan(loss=str(losses.get(loss).example()))
    before = copy.deepcopy(trainer.method.generator), copy.deepcopy(trainer.method.discriminator)
    trainer.fit(few)
    for was, now in zip(before, (trainer.method.generator, trainer.method.discriminator), strict=True):
        for (name, a), b in zip(was.named_parameters(), now.parameters(), strict=True):
            assert b.isfinite().all()
            # The last bias cancels out of losses that only compare reals and fakes.
            assert name == "head.linear.bias" or not torch.equal(a, b), name
    assert [row["step"] for row in trainer.history] == [2, 3]
    assert all(math.isfinite(value) for row in trainer.history for value in row.values())


@pytest.mark.parametrize("name", discriminators.names())
@pytest.mark.parametrize("num_classes", [0, 10])
@pytest.mark.parametrize("augment", ["none", "real", "both"])
def test_every_augmentation_with_and_without_classes(augment, num_classes, name, few, vae):
    trainer = gan(
        num_classes,
        name=name,
        augment=augment,
        latent_augment=None if augment == "none" else LatentAugment(vae, p=0.5),
    )
    generator = trainer.fit(few)
    assert not generator.training
    assert all(math.isfinite(value) for row in trainer.history for value in row.values())
    images = trainer.sample(generator, 20)
    assert images.shape == (20, 1, 8, 8)
    assert 0 <= images.min() < images.max() <= 1
    assert torch.equal(images, trainer.sample(generator, 20))


def test_policies_with_partners_are_fitted_on_the_data(few, vae):
    augment = LatentAugment(vae, "smote(k=3)")
    trainer = gan(10, augment="both", latent_augment=augment)
    trainer.fit(few)
    assert augment.reference is not None
    assert len(augment.reference) == len(few)
    assert all(math.isfinite(value) for row in trainer.history for value in row.values())


def test_a_data_set_smaller_than_a_batch(digits):
    trainer = gan()
    trainer.fit(digits.subset(torch.arange(5)))
    assert math.isfinite(trainer.history[-1]["g_loss"])


def test_float_images_without_labels(few):
    images = TensorDataset(few.images.float() / 255)
    assert equal(gan().fit([items[0] for items in images]), gan().fit(few))


# What the discriminator sees


class Spy:
    """Notes what the discriminator is given, and what goes through the transform."""

    def __init__(self, trainer: GANTrainer):
        self.seen: list[tuple[torch.Tensor, torch.Tensor | None]] = []
        self.replaced: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.gradients: list[torch.Tensor] = []
        trainer.method.discriminator.register_forward_pre_hook(self._see)
        augment = getattr(trainer.method.augmentation, "latent_augment", None)
        if augment is not None:
            self.replace = augment.replace
            augment.replace = self._replace

    def _see(self, module, args):
        self.seen.append((args[0], args[1]))

    def _replace(self, images, labels, random, p):
        made, labels = self.replace(images, labels, random, p)
        if images.requires_grad:
            images.register_hook(self.gradients.append)
        self.replaced.append((images, made))
        return made, labels


def test_both_is_on_reals_and_fakes_in_both_steps_and_lets_gradients_through(few, vae):
    augment = LatentAugment(vae, p=1.0)
    trainer = gan(augment="both", latent_augment=augment, steps=1, r1_gamma=0)
    spy = Spy(trainer)
    trainer.fit(few)

    # The discriminator's step on reals and fakes, and the generator's on fakes: each went through the transform.
    assert len(spy.replaced) == len(spy.seen) == 3
    for (images, _), (before, made) in zip(spy.seen, spy.replaced, strict=True):
        assert images is made
        assert len(before) == len(made) == BATCH
        assert (before - made).abs().flatten(1).amax(1).min() > 1e-3  # every row was replaced
    real, fake, learning = (before for before, _ in spy.replaced)
    assert are_of(few, real)
    assert not real.requires_grad
    assert not fake.requires_grad

    # Of the three only the generator's fakes carry gradients, and every image gets one through encoder and decoder.
    assert learning.requires_grad
    assert len(spy.gradients) == 1
    assert (spy.gradients[0].flatten(1).abs().amax(1) > 0).all()
    assert all(not weight.requires_grad and weight.grad is None for weight in vae.parameters())


def test_both_reaches_the_generator_only_through_the_transform(few, vae):
    """With the decoder's weights at nil every image decodes to the same: nothing is left to learn from."""
    with torch.no_grad():
        for weight in vae.decoder.parameters():
            weight.zero_()
    trainer = gan(augment="both", latent_augment=LatentAugment(vae, p=1.0), steps=2)
    before = copy.deepcopy(trainer.method.generator)
    trainer.fit(few)
    assert equal(before, trainer.method.generator)


def test_real_gives_the_discriminator_more_reals_than_came(few, vae):
    trainer = gan(10, augment="real", latent_augment=LatentAugment(vae), ratio=0.5, steps=1, r1_gamma=0)
    spy = Spy(trainer)
    trainer.fit(few)
    (real, labels), (fake, _), (learning, _) = spy.seen
    assert len(real) == len(labels) == BATCH + BATCH // 2
    assert len(fake) == len(learning) == BATCH
    assert not spy.replaced
    came, made = real[:BATCH], real[BATCH:]
    known = few.images.float() / 255
    for row, label in zip(came, labels[:BATCH], strict=True):
        assert any(torch.equal(row, image) and label == of for image, of in zip(known, few.targets, strict=True))
    assert torch.equal(labels[BATCH:], labels[1:BATCH:2])  # every other one
    assert (made - came[1::2]).abs().flatten(1).amax(1).min() > 1e-3


def test_none_shows_the_images_as_they_are_and_needs_no_transform(few):
    trainer = gan(steps=1, r1_gamma=0)
    assert str(trainer.method.augmentation) == "none"
    spy = Spy(trainer)
    trainer.fit(few)
    assert [len(images) for images, _ in spy.seen] == [BATCH] * 3
    assert are_of(few, spy.seen[0][0])
    assert not are_of(few, spy.seen[1][0])


def test_r1_comes_every_few_steps_and_the_discriminator_takes_its_turns(few, monkeypatch):
    module = importlib.import_module("augmentor.gan.methods._adversarial")

    calls = []
    penalty = module.r1_penalty
    monkeypatch.setattr(module, "r1_penalty", lambda *args: calls.append(1) or penalty(*args))
    trainer = gan(steps=4, discriminator_steps=2, r1_every=4)
    spy = Spy(trainer)
    trainer.fit(few)
    assert len(calls) == 2  # of 8 steps of the discriminator
    assert len(spy.seen) == 4 * (2 * 2 + 1) + len(calls)
    plain = [images for images, _ in spy.seen if not images.requires_grad]
    reals = [rows for rows in plain if are_of(few, rows)]
    assert len(reals) == 8
    assert not torch.equal(reals[0], reals[1])  # each turn has a batch of its own


@pytest.mark.parametrize("loss", ["hinge", "wgan_gp", "lsgan"])
def test_the_discriminator_minimises_its_loss_and_the_penalties(few, monkeypatch, loss):
    module = importlib.import_module("augmentor.gan.methods._adversarial")
    method = gan(loss=loss, r1_gamma=0.5, r1_every=2).method
    GANTrainer(method, steps=1, batch_size=BATCH, progress=False).fit(few)
    seen = {}

    def noting(name, function):
        def noted(*arguments):
            seen[name] = (arguments, function(*arguments))
            return seen[name][1]

        return noted

    for name in ("discriminator", "penalty"):
        monkeypatch.setattr(method.loss, name, noting(name, getattr(method.loss, name)))
    monkeypatch.setattr(module, "r1_penalty", noting("r1", module.r1_penalty))
    monkeypatch.setattr(method.feed.engine, "minimise", noting("minimise", lambda *_: None))
    logs = method.discriminator_step(2)
    total = seen["discriminator"][1] + seen["penalty"][1] + 0.5 * 2 * seen["r1"][1]
    assert torch.allclose(seen["minimise"][0][0], total)
    assert seen["minimise"][0][1] is method.optimizers["discriminator"]
    assert bool(seen["penalty"][1] > 0) == (loss == "wgan_gp")
    assert bool(seen["r1"][1] > 0)
    real_logits = seen["discriminator"][0][0]
    assert float(logs["real_sign"]) == float(method.loss.signs(real_logits))
    seen.clear()
    method.discriminator_step(3)
    assert "r1" not in seen


def test_adaptive_p_is_told_of_the_real_images(few, monkeypatch):
    method = gan(augment="ada").method
    GANTrainer(method, steps=1, batch_size=BATCH, progress=False).fit(few)
    told = []
    monkeypatch.setattr(method.augmentation, "observe", lambda sign, images: told.append((float(sign), images)))
    monkeypatch.setattr(method.discriminator, "forward", lambda images, labels=None: images.flatten(1).mean(1) - 0.1)
    monkeypatch.setattr(method.augmentation, "fake", lambda batch: 0 * batch.images)
    monkeypatch.setattr(method.augmentation, "real", lambda batch: (0 * batch.images + 1, batch.labels))
    monkeypatch.setattr(method.feed.engine, "minimise", lambda *_: None)
    monkeypatch.setattr(method, "r1_gamma", 0.0)
    method.discriminator_step(0)
    assert told == [(1.0, BATCH)]


# The averaged generator


def test_the_averaged_generator_is_what_comes_back(few):
    one = gan(steps=1)
    first = one.fit(few)
    assert equal(first, one.method.generator)  # nothing to average yet
    two = gan(steps=2, ema_decay=0.9)
    second = two.fit(few)
    assert not equal(second, two.method.generator)
    pairs = zip(first.parameters(), two.method.generator.parameters(), second.parameters(), strict=True)
    for start, raw, averaged in pairs:
        torch.testing.assert_close(averaged, 0.9 * start + 0.1 * raw)


# The folder


@pytest.fixture
def scripted(monkeypatch):
    """Replaces the measurement by a script: ``scripted(5, 2, 3)``; an exception in it is raised."""
    import augmentor.gan.evaluation as module

    def install(*fids):
        script = iter(fids)

        def compare(*args, **kwargs):
            value = next(script)
            if isinstance(value, BaseException):
                raise value
            return {"fid": float(value)}

        monkeypatch.setattr(module, "compare", compare)

    return install


def flat(images: torch.Tensor) -> torch.Tensor:
    return images.float().flatten(1)


def test_the_best_snapshot_is_the_round_with_the_lowest_fid(few, tmp_path, scripted):
    scripted(5, 2, 3)
    trainer = gan(steps=6, features=flat, out=tmp_path)
    last = trainer.fit(few)
    assert [row["fid"] for row in trainer.history] == [5, 2, 3]
    best = load_network(tmp_path / "best.safetensors", generators)
    assert read_header(tmp_path / "best.safetensors")["info"] == trainer.history[1]
    assert equal(best, gan(steps=4).fit(few))
    assert not equal(best, last)
    assert equal(load_network(tmp_path / "generator.safetensors", generators), last)


def test_the_best_stays_the_best_after_a_break(few, tmp_path, scripted):
    settings = {"steps": 6, "features": flat, "out": tmp_path}
    scripted(5, 2, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        gan(**settings).fit(few)
    before = (tmp_path / "best.safetensors").read_bytes()
    scripted(3)
    resumed = gan(**settings)
    resumed.fit(few)
    assert [row["fid"] for row in resumed.history] == [5, 2, 3]
    assert (tmp_path / "best.safetensors").read_bytes() == before


def test_without_features_the_last_is_the_best(few, tmp_path):
    trained = gan(out=tmp_path).fit(few)
    assert equal(load_network(tmp_path / "best.safetensors", generators), trained)


def test_metrics_are_measured_against_the_reference(few, digits, vae):
    asked = []

    def features(images):
        asked.append(len(images))
        return flat(images)

    trainer = gan(features=features, steps=2)
    trainer.fit(few, reference=digits.subset(torch.arange(30)))
    assert asked[-2:] == [30, 30]
    assert trainer.history[0].keys() >= {"fid", "kid", "precision", "recall"}


def test_the_folder_holds_grids_history_and_settings(few, tmp_path):
    trainer = gan(10, out=tmp_path / "run", steps=5)
    trainer.fit(few)
    assert sorted(name for name in content(tmp_path / "run") if not name.startswith("tensorboard/")) == [
        "best.safetensors",
        "checkpoint.pt",
        "generator.safetensors",
        "history.jsonl",
        "run.json",
        "samples/step-0000002.png",
        "samples/step-0000004.png",
        "samples/step-0000005.png",
    ]
    lines = [json.loads(line) for line in (tmp_path / "run/history.jsonl").read_text().splitlines()]
    assert lines == trainer.history
    assert [line["step"] for line in lines] == [2, 4, 5]
    assert all(line.keys() == {"step", "d_loss", "g_loss", "real_sign", "fake_sign", "spread"} for line in lines)
    assert json.loads((tmp_path / "run/run.json").read_text())["augment"] == "none"
    grids = [Image.open(path) for path in sorted((tmp_path / "run/samples").iterdir())]
    assert all(grid.width / grid.height == pytest.approx(10 / 6, rel=0.02) for grid in grids)  # a class a column
    assert len({grid.tobytes() for grid in grids}) == 3


def test_without_a_folder_nothing_is_written(few, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gan().fit(few)
    assert list(tmp_path.iterdir()) == []


def test_other_settings_are_refused(few, digits, tmp_path, vae):
    gan(out=tmp_path).fit(few)
    before = content(tmp_path)
    with pytest.raises(OutputError, match=r"lr: 0\.0002 there, 0\.001 asked"):
        gan(out=tmp_path, lr=1e-3).fit(few)
    with pytest.raises(OutputError, match="dataset"):
        gan(out=tmp_path).fit(digits.subset(torch.arange(1, 101)))
    with pytest.raises(OutputError, match="augment: 'none' there, 'both' asked"):
        gan(out=tmp_path, augment="both", latent_augment=LatentAugment(vae)).fit(few)
    with pytest.raises(OutputError, match="generator"):
        gan(10, out=tmp_path).fit(few)
    assert content(tmp_path) == before


def test_a_folder_with_other_things_is_refused(few, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match=r"thesis\.tex"):
        gan(out=tmp_path).fit(few)
    assert content(tmp_path) == {"thesis.tex": b"years of work"}


def test_a_finished_run_called_again_trains_no_more(few, tmp_path):
    trained = gan(out=tmp_path).fit(few)
    before = content(tmp_path)
    again = gan(out=tmp_path)
    spy = Spy(again)
    assert equal(again.fit(few), trained)
    assert spy.seen == []
    assert content(tmp_path) == before


# Resuming


class Breaks(Hinge):
    """A loss that does something at a call of the generator's: raise, or become NaN."""

    def __init__(self, at: int, what: BaseException | float):
        self._left, self._what = at, what

    def __str__(self) -> str:
        return str(Hinge())

    def generator(self, fake_logits):
        loss = super().generator(fake_logits)
        self._left -= 1
        if self._left:
            return loss
        if isinstance(self._what, BaseException):
            raise self._what
        return loss * self._what


@pytest.mark.parametrize("name", discriminators.names())
@pytest.mark.parametrize(
    "augment", ["none", "real", "both", "both(p='adaptive(images=150, every=3, start=0.5)')+diffaugment"]
)
def test_a_run_that_was_stopped_ends_as_one_that_was_not(augment, name, few, vae, tmp_path):
    def run(**settings):
        made = None if augment == "none" else LatentAugment(vae)
        settings = {"loss": "hinge", "steps": 7, "r1_every": 3, "discriminator_steps": 2, **settings}
        return gan(10, name=name, augment=augment, latent_augment=made, **settings)

    undisturbed = run()
    expected = undisturbed.fit(few)
    with pytest.raises(KeyboardInterrupt):
        run(out=tmp_path, loss=Breaks(6, KeyboardInterrupt())).fit(few)
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 2  # of 2 steps each
    resumed = run(out=tmp_path)
    assert equal(resumed.fit(few), expected)
    assert equal(resumed.method.generator, undisturbed.method.generator)
    assert equal(resumed.method.discriminator, undisturbed.method.discriminator)
    assert resumed.history == undisturbed.history


def test_a_line_of_history_without_its_checkpoint_is_forgotten(few, tmp_path):
    """What a kill between the two writes leaves."""
    with pytest.raises(KeyboardInterrupt):
        gan(out=tmp_path, steps=6, loss=Breaks(5, KeyboardInterrupt())).fit(few)
    with open(tmp_path / "history.jsonl", "a") as file:
        file.write('{"step": 6, "fid": -1}\n')
    resumed = gan(out=tmp_path, steps=6, loss="hinge")
    resumed.fit(few)
    assert [row["step"] for row in resumed.history] == [2, 4, 6]
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 3
    assert resumed.history == run_history(gan(steps=6, loss="hinge"), few)


def run_history(trainer: GANTrainer, data) -> list[dict]:
    trainer.fit(data)
    return trainer.history


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"[1, 2]"])
def test_a_damaged_checkpoint_is_a_typed_error(damage, few, tmp_path):
    gan(out=tmp_path).fit(few)
    (tmp_path / "checkpoint.pt").write_bytes(damage((tmp_path / "checkpoint.pt").read_bytes()))
    with pytest.raises(TrainingError, match="remove the folder to start again"):
        gan(out=tmp_path).fit(few)


def test_a_checkpoint_executes_nothing(few, tmp_path):
    class Trap:
        def __reduce__(self):
            return open, (str(tmp_path / "sprung"), "w")

    folder = tmp_path / "run"
    gan(out=folder).fit(few)
    torch.save({"rounds": 1, "step": 2, "generator": Trap()}, folder / "checkpoint.pt")
    with pytest.raises(TrainingError, match="cannot resume"):
        gan(out=folder).fit(few)
    assert not (tmp_path / "sprung").exists()


_KILLED = """
import sys, time, torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[2])
from test_gan_trainer import killable, slow_digits
killable(sys.argv[1]).fit(slow_digits(0.05))
"""


class SlowDigits(ArrayDataset):
    """Digits that take their time, so that a signal arrives before the end."""

    delay = 0.0

    def __getitems__(self, indices):
        time.sleep(self.delay)
        return super().__getitems__(indices)


def slow_digits(delay: float) -> SlowDigits:
    from augmentor.data import load_source

    digits = load_source("digits").subset(torch.arange(100))
    slow = SlowDigits(digits.images, digits.targets, digits.classes)
    slow.delay = delay
    return slow


def killable(out: str | None) -> GANTrainer:
    return gan(
        10, steps=60, round_steps=3, augment="both", latent_augment=LatentAugment("digits"), out=out, loss="wgan_gp"
    )


def test_a_killed_process_resumes_to_the_same_weights(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(tmp_path / "run"), str(Path(__file__).parent)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    history = tmp_path / "run" / "history.jsonl"
    while process.poll() is None and not (history.exists() and history.read_text().count("\n") >= 3):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors.decode()
    assert 3 <= history.read_text().count("\n") < 20

    resumed, undisturbed = killable(str(tmp_path / "run")), killable(None)
    result, expected = resumed.fit(slow_digits(0)), undisturbed.fit(slow_digits(0))
    assert equal(result, expected)
    assert equal(resumed.method.generator, undisturbed.method.generator)
    assert resumed.history == undisturbed.history
    assert equal(load_network(tmp_path / "run" / "generator.safetensors", generators), expected)
    assert not list((tmp_path / "run").rglob("*.partial"))


# What goes wrong


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_keeps_the_last_good_checkpoint(value, few, tmp_path):
    with pytest.raises(TrainingError, match="the last good checkpoint is kept"):
        gan(out=tmp_path, steps=7, loss=Breaks(3, value)).fit(few)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["step"] == 2
    assert all(tensor.isfinite().all() for tensor in state["method"]["networks"]["generator"].values())
    resumed = gan(out=tmp_path, steps=7, loss="hinge")
    assert equal(resumed.fit(few), gan(steps=7, loss="hinge").fit(few))


@pytest.mark.parametrize("at", [2, 4])
def test_a_loss_that_breaks_in_the_last_step_of_a_round_spoils_nothing(at, few, tmp_path):
    """The losses of a round are from before its last update; what that made must be looked at as well."""

    class Poisons(Breaks):
        def generator(self, fake_logits):
            self._left -= 1
            if self._left:
                return Hinge.generator(self, fake_logits)
            fake_logits.register_hook(lambda gradient: gradient * math.nan)
            return Hinge.generator(self, fake_logits)

    with pytest.raises(TrainingError, match="no longer finite"):
        gan(out=tmp_path, steps=7, loss=Poisons(at, 0.0)).fit(few)
    if at == 4:
        state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
        assert all(tensor.isfinite().all() for tensor in state["method"]["networks"]["generator"].values())
    assert (tmp_path / "checkpoint.pt").exists() == (at == 4)


@pytest.mark.parametrize("augment", ["none", "real", "both"])
def test_a_rate_far_too_high_is_a_typed_error(augment, few, vae, tmp_path):
    with pytest.raises(TrainingError, match=r"try a lower rate than lr=1e\+20"):
        gan(
            lr=1e20, steps=20, augment=augment, latent_augment=LatentAugment(vae), features=AutoencoderFeatures(vae),
            out=tmp_path,
        ).fit(few)  # fmt: skip
    assert not (tmp_path / "generator.safetensors").exists()


def test_arguments_that_do_not_fit_are_refused(vae):
    for settings, said in [
        ({"steps": 0}, "steps is at least 1"),
        ({"batch_size": 0}, "batch_size"),
        ({"round_steps": 0}, "round_steps"),
        ({"r1_every": 0}, "r1_every"),
        ({"discriminator_steps": 0}, "discriminator_steps"),
        ({"lr": 0}, "lr is positive"),
        ({"lr": math.nan}, "lr is positive"),
        ({"ema_decay": 1}, "below 1"),
        *(
            ({"augment": "real", "latent_augment": LatentAugment(vae), "ratio": ratio}, "ratio")
            for ratio in (-1, math.nan, math.inf)
        ),
        ({"stop_on": "collapse"}, "stop_on is a collection"),
        ({"stop_on": ["boredom"]}, "stop_on is a collection"),
        ({"best_by": "recall"}, "best_by"),
        ({"precision": "fp8"}, "precision is one of fp32, bf16"),
        ({"devices": 0}, "devices"),
        ({"r1_gamma": -1}, "r1_gamma"),
        ({"augment": "real"}, "needs latent_augment"),
        ({"augment": "both"}, "needs latent_augment"),
    ]:
        with pytest.raises(InputError, match=said):
            gan(**settings)
    with pytest.raises(UnknownNameError, match="did you mean 'both'"):
        gan(augment="bot")
    with pytest.raises(UnknownNameError, match="did you mean 'hinge'"):
        gan(loss="hing")
    for policy in ("interpolate(same_class=False)", "compose(gaussian, interpolate(same_class=False))"):
        for augment in ("real", "both"):
            with pytest.raises(InputError, match="mixes classes"):
                gan(augment=augment, latent_augment=LatentAugment(vae, policy))


def test_networks_that_do_not_match_are_refused():
    for generator, discriminator in [
        (get_generator("dcgan").example(), get_discriminator("dcgan").example(10)),
        (get_generator("dcgan")((1, 16, 16)), get_discriminator("dcgan").example()),
    ]:
        with pytest.raises(InputError, match="build them alike"):
            GAN((generator, discriminator))


def test_data_that_does_not_fit_leaves_nothing_behind(few, vae, tmp_path):
    folder = tmp_path / "run"
    larger = ArrayDataset(torch.zeros(20, 1, 16, 16, dtype=torch.uint8))
    with pytest.raises(InputError, match=r"\(1, 16, 16\) and the networks take \(1, 8, 8\)"):
        gan(out=folder).fit(larger)
    with pytest.raises(InputError, match="use num_classes=0"):
        gan(10, out=folder).fit(TensorDataset(few.images))
    with pytest.raises(DataError, match="empty"):
        gan(out=folder).fit(TensorDataset(few.images[:0]))
    shifted = 2 * few.images.float() / 255 - 1
    with pytest.raises(RangeError, match=r"GANTrainer takes images in .*normalise after"):
        gan(out=folder).fit(TensorDataset(torch.cat([torch.zeros(1, 1, 8, 8), shifted])))
    with pytest.raises(InputError, match=r"got torch\.int64"):
        gan(out=folder).fit(TensorDataset(few.images.long()))
    with pytest.raises(DataError, match="at least 10 real images, got 9"):
        gan(out=folder, features=flat).fit(few.subset(torch.arange(9)))
    rejected = few.subset(torch.cat([torch.tensor([0]), (few.targets != 0).nonzero().squeeze(1)]))
    with pytest.raises(ReferenceSetError, match="class 0 has 1"):
        gan(10, out=folder, augment="real", latent_augment=LatentAugment(vae, "smote")).fit(rejected)

    # An autoencoder for other images, as transform and as features.
    wide = get_generator("dcgan")((1, 16, 16), width=8), get_discriminator("dcgan")((1, 16, 16), width=8)
    for settings in (
        {"augment": "both", "latent_augment": LatentAugment(vae, p=0.1)},
        {"augment": "real", "latent_augment": LatentAugment(vae, p=0.1)},
        {"features": AutoencoderFeatures(vae)},
    ):
        augmentation = get_augmentation(settings.pop("augment", "none"), settings.pop("latent_augment", None))
        trainer = GANTrainer(GAN(wide, augmentation=augmentation), out=folder, progress=False, **settings)
        with pytest.raises(ShapeError, match=r"takes images \(B, 1, 8, 8\)"):
            trainer.fit(larger)
    assert not folder.exists()


def test_values_out_of_range_are_noticed_in_every_batch(few):
    images = few.images.float() / 255
    images[-1] += 1
    with pytest.raises(RangeError, match="GANTrainer takes images in"):
        gan(steps=2 * len(few) // BATCH).fit(TensorDataset(images))


def test_the_discriminator_learns_on_after_an_interruption(few, monkeypatch):
    trainer = gan()
    monkeypatch.setattr(trainer.method, "generator_losses", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(few)
    monkeypatch.undo()
    assert all(weight.requires_grad for weight in trainer.method.discriminator.parameters())
    trainer.fit(few)


# Chance


def test_an_image_that_a_batch_holds_twice_has_a_random_sequence_for_each(few):
    feed = Feed(few.subset(torch.arange(10)), 8, 0, get_engine("cpu", 1, "fp32"), labelled=False)
    for number in range(6):
        batch = feed.batch(number)
        assert len(set(batch.keys.tolist())) == 8
    assert any(len(set(feed.batch(number).indices.tolist())) < 8 for number in range(6))


def test_the_global_generators_are_left_alone(few, vae):
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    trainer = gan(
        10, augment="both", latent_augment=LatentAugment(vae), features=AutoencoderFeatures(vae), loss="wgan_gp"
    )
    trainer.fit(few)
    assert torch.equal(states[0], torch.get_rng_state())
    assert all(np.array_equal(a, b) for a, b in zip(states[1], np.random.get_state(), strict=True))
    assert states[2] == random.getstate()


def test_the_seed_decides(few):
    torch.manual_seed(1)
    one = gan(seed=3).fit(few)
    torch.manual_seed(2)
    assert equal(one, gan(seed=3).fit(few))
    assert not equal(one, gan(seed=4).fit(few))
    trainer = gan(seed=-1, features=flat)
    trainer.fit(few)
    assert math.isfinite(trainer.history[-1]["fid"])


def test_progress_goes_to_the_error_stream_only_when_asked(few, capfd):
    gan().fit(few)
    assert capfd.readouterr() == ("", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("augmentor.gan.trainer.tqdm", lambda *a, **k: tqdm(*a, **{**k, "delay": 0}))
        gan(progress=True).fit(few)
    out, err = capfd.readouterr()
    assert out == ""
    assert "train gan" in err
    assert "g_loss" in err


def test_a_grid_is_a_png(few, tmp_path):
    gan(out=tmp_path).fit(few)
    picture = Image.open(io.BytesIO((tmp_path / "samples/step-0000002.png").read_bytes()))
    assert (picture.format, picture.mode) == ("PNG", "RGB")


def test_without_classes_partners_come_from_all_of_them(vae, few):
    trainer = gan(augment="both", latent_augment=LatentAugment(vae, "smote"))
    trainer.fit(few)
    reference = trainer.method.augmentation.latent_augment.reference
    assert reference is not None
    assert not reference.labelled


def test_the_r1_penalty_that_goes_with_the_loss():
    assert gan(loss="wgan_gp").method.r1_gamma == 0
    assert gan(loss="hinge").method.r1_gamma == 1
    assert gan(loss="wgan_gp", r1_gamma=2.0).method.r1_gamma == 2


def test_labels_beyond_the_classes_of_the_networks_are_refused_before_anything_is_written(few, tmp_path):
    with pytest.raises(InputError, match="classes 0 to 2"):
        gan(3, out=tmp_path / "run").fit(few)
    assert not (tmp_path / "run").exists()
