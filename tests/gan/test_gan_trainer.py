"""The GAN trainer: learns, augments where it says, resumes exactly, keeps the best, refuses what does not fit."""

from __future__ import annotations

import copy
import importlib
import io
import json
import math
import random
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import content, equal, flat
from torch.utils.data import TensorDataset
from tqdm import tqdm

from augmentor import LatentAugment
from augmentor._internal.engine import get_engine
from augmentor._internal.random import seeded
from augmentor._internal.run import Run
from augmentor._internal.weights import read_header
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
from augmentor.gan import GAN, GANTrainer, get_augmentation, load_generator
from augmentor.gan.feed import Feed
from augmentor.gan.losses import LOSSES, Hinge
from augmentor.gan.networks import get_discriminator, get_generator
from augmentor.quality import AutoencoderFeatures

BATCH = 16


def gan(num_classes: int = 0, *, name: str = "dcgan", **settings) -> GANTrainer:
    """A trainer of the plain method and a tiny pair for (1,8,8); settings are those of the three."""
    augment = {name: settings.pop(name) for name in ("latent_augment", "ratio", "p") if name in settings}
    augmentation = get_augmentation(settings.pop("augment", "none"), **augment)
    of_method = ("loss", "lr", "r1_gamma", "r1_every", "discriminator_steps")
    parts = {name: settings.pop(name) for name in of_method if name in settings}
    with seeded(0, "networks"):
        pair = get_generator(name).example(num_classes), get_discriminator(name).example(num_classes)
    method = GAN(pair, augmentation=augmentation, **parts)
    return GANTrainer(method, **{"steps": 3, "batch_size": BATCH, "round_steps": 2, "progress": False, **settings})


def are_of(data: ArrayDataset, images: torch.Tensor) -> bool:
    """Whether these float images are all members of a data set."""
    known = {image.numpy().tobytes() for image in data.images.float() / 255}
    return all(image.numpy().tobytes() in known for image in images.detach())


def finite(trainer: GANTrainer) -> bool:
    return all(math.isfinite(value) for row in trainer.history for value in row.values())


@pytest.fixture(scope="module")
def few(digits) -> ArrayDataset:
    return digits.subset(torch.arange(100))


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
    for part, network in trainer.method.networks().items():
        for (name, a), b in zip(before[part].named_parameters(), network.parameters(), strict=True):
            assert b.isfinite().all()
            # The last bias cancels out of losses that only compare reals and fakes.
            assert name == "head.linear.bias" or not torch.equal(a, b), name
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
        assert len(before) == len(made) == BATCH
        assert (before - made).abs().flatten(1).amax(1).min() > 1e-3  # every row was replaced
    real, fake, learning = (before for before, _ in spy.replaced)
    assert are_of(few, real)
    # Of the three only the generator's fakes carry gradients, and every image gets one through encoder and decoder.
    assert [images.requires_grad for images in (real, fake, learning)] == [False, False, True]
    assert len(spy.gradients) == 1
    assert (spy.gradients[0].flatten(1).abs().amax(1) > 0).all()
    assert all(not weight.requires_grad and weight.grad is None for weight in vae.parameters())


def test_real_gives_the_discriminator_more_reals_than_came(few, vae):
    trainer = gan(10, augment="real", latent_augment=LatentAugment(vae), ratio=0.5, steps=1, r1_gamma=0)
    spy = Spy(trainer)
    trainer.fit(few)
    (real, labels), (fake, _), (learning, _) = spy.seen
    assert len(real) == len(labels) == BATCH + BATCH // 2
    assert len(fake) == len(learning) == BATCH
    batch = trainer.method.feed.batch(0)
    assert torch.equal(real[:BATCH], batch.images)
    assert torch.equal(labels, torch.cat([batch.labels, batch.labels[1::2]]))  # every other one
    assert (real[BATCH:] - batch.images[1::2]).abs().flatten(1).amax(1).min() > 1e-3


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
    reals = [images for images, _ in spy.seen if not images.requires_grad and are_of(few, images)]
    assert len(reals) == 8
    assert not torch.equal(reals[0], reals[1])  # each turn has a batch of its own


@pytest.mark.parametrize("loss", ["lsgan", "wgan_gp"])
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
    assert float(logs["real_sign"]) == float(method.loss.signs(seen["discriminator"][0][0]))
    seen.clear()
    method.discriminator_step(3)
    assert "r1" not in seen


def test_adaptive_p_is_told_of_the_real_images(few, monkeypatch):
    method = gan(augment="ada", r1_gamma=0).method
    GANTrainer(method, steps=1, batch_size=BATCH, progress=False).fit(few)
    told = []
    monkeypatch.setattr(method.augmentation, "observe", lambda sign, images: told.append((float(sign), images)))
    monkeypatch.setattr(method.discriminator, "forward", lambda images, labels=None: images.flatten(1).mean(1) - 0.1)
    monkeypatch.setattr(method.augmentation, "fake", lambda batch: 0 * batch.images)
    monkeypatch.setattr(method.augmentation, "real", lambda batch: (0 * batch.images + 1, batch.labels))
    monkeypatch.setattr(method.feed.engine, "minimise", lambda *_: None)
    method.discriminator_step(0)
    assert told == [(1.0, BATCH)]


def test_the_averaged_generator_is_what_comes_back(few):
    one = gan(steps=1)
    first = one.fit(few)
    assert equal(first, one.method.generator)  # nothing to average yet
    two = gan(steps=2, ema_decay=0.9)
    second = two.fit(few)
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
            return {"fid": float(value), "kid": -float(value)}

        monkeypatch.setattr(module, "compare", compare)

    return install


def test_the_best_snapshot_is_the_round_with_the_lowest_score(few, tmp_path, scripted):
    scripted(5, 2, 3)
    trainer = gan(steps=6, features=flat, out=tmp_path / "fid")
    last = trainer.fit(few)
    assert [row["fid"] for row in trainer.history] == [5, 2, 3]
    best = load_generator(tmp_path / "fid/best.safetensors")
    assert read_header(tmp_path / "fid/best.safetensors")["info"] == trainer.history[1]
    assert equal(best, gan(steps=4).fit(few))
    assert not equal(best, last)
    assert equal(load_generator(tmp_path / "fid/generator.safetensors"), last)
    scripted(5, 2, 3)
    gan(steps=6, features=flat, out=tmp_path / "kid", best_by="kid").fit(few)
    assert read_header(tmp_path / "kid/best.safetensors")["info"]["step"] == 2
    assert equal(gan(out=tmp_path / "none").fit(few), load_generator(tmp_path / "none/best.safetensors"))  # the last


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


def test_metrics_are_measured_against_the_reference(few, digits):
    asked = []

    def features(images):
        asked.append(len(images))
        return flat(images)

    trainer = gan(features=features, steps=2, seed=-1)
    trainer.fit(few, reference=digits.subset(torch.arange(30)))
    assert asked[-2:] == [30, 30]
    assert trainer.history[0].keys() >= {"fid", "kid", "precision", "recall"}


def events(folder) -> EventAccumulator:
    found = EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return found


def test_the_folder_holds_grids_history_settings_and_events(few, tmp_path):
    trainer = gan(10, out=tmp_path, steps=5)
    trainer.fit(few)
    grids = [f"samples/step-000000{step}.png" for step in (2, 4, 5)]
    files = content(tmp_path)
    assert sorted(files) == [
        "best.safetensors", "checkpoint.pt", "generator.safetensors", "history.jsonl", "run.json", *grids
    ]  # fmt: skip
    assert [json.loads(line) for line in files["history.jsonl"].splitlines()] == trainer.history
    names = {"d_loss", "g_loss", "real_sign", "fake_sign", "spread"}
    assert all(row.keys() == {"step", *names} for row in trainer.history)
    assert json.loads(files["run.json"])["augment"] == "none"
    for image in (Image.open(io.BytesIO(files[name])) for name in grids):
        assert (image.format, image.mode) == ("PNG", "RGB")
        assert image.width / image.height == pytest.approx(10 / 6, rel=0.02)  # a class a column
    assert len({files[name] for name in grids}) == 3
    board = events(tmp_path)
    assert set(board.Tags()["scalars"]) == names
    for name in names:
        expected = [(row["step"], pytest.approx(row[name])) for row in trainer.history]
        assert [(event.step, event.value) for event in board.Scalars(name)] == expected
    assert [event.step for event in board.Images("samples")] == [2, 4, 5]


def test_without_a_folder_nothing_is_written_and_without_the_package_no_events(few, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gan().fit(few)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    gan(out=tmp_path / "run").fit(few)
    assert not (tmp_path / "run/tensorboard").exists()
    assert (tmp_path / "run/history.jsonl").exists()


def test_other_settings_and_folders_of_others_are_refused(few, digits, tmp_path, vae):
    gan(out=tmp_path / "run").fit(few)
    before = content(tmp_path / "run")
    for trainer, data, said in [
        (gan(out=tmp_path / "run", lr=1e-3), few, r"lr: 0\.0002 there, 0\.001 asked"),
        (gan(out=tmp_path / "run"), digits.subset(torch.arange(1, 101)), "dataset"),
        (gan(out=tmp_path / "run", augment="both", latent_augment=LatentAugment(vae)), few, "augment: 'none' there"),
        (gan(10, out=tmp_path / "run"), few, "generator"),
    ]:
        with pytest.raises(OutputError, match=said):
            trainer.fit(data)
    assert content(tmp_path / "run") == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match=r"thesis\.tex"):
        gan(out=tmp_path / "mine").fit(few)
    assert content(tmp_path / "mine") == {"thesis.tex": b"years of work"}


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
        self._left -= 1
        if self._left:
            return super().generator(fake_logits)
        if isinstance(self._what, BaseException):
            raise self._what
        return self.spoilt(fake_logits)

    def spoilt(self, fake_logits):
        return super().generator(fake_logits) * self._what


@pytest.mark.parametrize(
    ("name", "augment"),
    [("resnet", "real"), ("dcgan", "both(p='adaptive(images=150, every=3, start=0.5)')+diffaugment")],
)
def test_a_run_that_was_stopped_ends_as_one_that_was_not(augment, name, few, vae, tmp_path, monkeypatch):
    """Stopped before its checkpoint: a round's events are written, and a kill may leave a line of history as well."""
    save = Run.save

    def stopping(run, state, row):
        if row["step"] == 6:
            raise KeyboardInterrupt
        save(run, state, row)

    def run(**settings):
        settings = {"loss": "hinge", "steps": 7, "r1_every": 3, "discriminator_steps": 2, **settings}
        return gan(10, name=name, augment=augment, latent_augment=LatentAugment(vae), **settings)

    undisturbed = run()
    expected = undisturbed.fit(few)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", stopping)
        with pytest.raises(KeyboardInterrupt):
            run(out=tmp_path).fit(few)
    with open(tmp_path / "history.jsonl", "a") as file:
        file.write('{"step": 6, "fid": -1}\n')
    resumed = run(out=tmp_path)
    assert equal(resumed.fit(few), expected)
    for part, network in undisturbed.method.networks().items():
        assert equal(resumed.method.networks()[part], network), part
    assert resumed.history == undisturbed.history
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 4
    assert [event.step for event in events(tmp_path).Scalars("d_loss")] == [2, 4, 6, 7]


def test_a_damaged_checkpoint_is_a_typed_error_and_executes_nothing(few, tmp_path):
    class Trap:
        def __reduce__(self):
            return open, (str(tmp_path / "sprung"), "w")

    gan(out=tmp_path / "run").fit(few)
    path, trap = tmp_path / "run/checkpoint.pt", io.BytesIO()
    torch.save({"rounds": 1, "step": 2, "generator": Trap()}, trap)
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"[1, 2]", trap.getvalue()):
        path.write_bytes(damaged)
        with pytest.raises(TrainingError, match=r"cannot resume.*remove the folder to start again"):
            gan(out=tmp_path / "run").fit(few)
    assert not (tmp_path / "sprung").exists()


def test_the_discriminator_learns_on_after_an_interruption(few):
    trainer = gan(loss=Breaks(1, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(few)
    assert all(weight.requires_grad for weight in trainer.method.discriminator.parameters())
    trainer.fit(few)


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
        def spoilt(self, fake_logits):
            fake_logits.register_hook(lambda gradient: gradient * math.nan)
            return Hinge.generator(self, fake_logits)

    with pytest.raises(TrainingError, match="no longer finite"):
        gan(out=tmp_path, steps=7, loss=Poisons(at, 0.0)).fit(few)
    assert (tmp_path / "checkpoint.pt").exists() == (at == 4)
    if at == 4:
        state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
        assert all(tensor.isfinite().all() for tensor in state["method"]["networks"]["generator"].values())


@pytest.mark.parametrize("augment", ["real", "both"])
def test_a_rate_far_too_high_is_a_typed_error(augment, few, vae, tmp_path):
    settings = {"augment": augment, "latent_augment": LatentAugment(vae), "features": AutoencoderFeatures(vae)}
    with pytest.raises(TrainingError, match=r"try a lower rate than lr=1e\+20"):
        gan(lr=1e20, steps=20, out=tmp_path, **settings).fit(few)
    assert not (tmp_path / "generator.safetensors").exists()


def test_arguments_that_do_not_fit_are_refused(vae):
    for settings, said in [
        *(({name: 0}, name) for name in
          ("steps", "batch_size", "round_steps", "r1_every", "discriminator_steps", "lr", "devices")),
        *(({"augment": "real", "latent_augment": LatentAugment(vae), "ratio": ratio}, "ratio")
          for ratio in (-1, math.nan, math.inf)),
        ({"lr": math.nan}, "lr is positive"), ({"r1_gamma": -1}, "r1_gamma"), ({"ema_decay": 1}, "below 1"),
        ({"stop_on": "collapse"}, "stop_on is a collection"), ({"stop_on": ["boredom"]}, "stop_on is a collection"),
        ({"best_by": "recall"}, "best_by"), ({"precision": "fp8"}, "precision is one of fp32, bf16"),
        ({"augment": "real"}, "needs latent_augment"), ({"augment": "both"}, "needs latent_augment"),
    ]:  # fmt: skip
        with pytest.raises(InputError, match=said):
            gan(**settings)
    for settings, known in ({"augment": "bot"}, "both"), ({"loss": "hing"}, "hinge"):
        with pytest.raises(UnknownNameError, match=f"did you mean '{known}'"):
            gan(**settings)
    for augment in ("real", "both"):
        policy = "compose(gaussian, interpolate(same_class=False))"
        with pytest.raises(InputError, match="mixes classes"):
            gan(augment=augment, latent_augment=LatentAugment(vae, policy))
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
        (gan(out=folder), TensorDataset(few.images.long()), InputError, r"got torch\.int64"),
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
        gan(steps=2 * len(few) // BATCH).fit(TensorDataset(images))


# Random numbers


def test_an_image_that_a_batch_holds_twice_has_a_random_sequence_for_each(few):
    feed = Feed(few.subset(torch.arange(10)), 8, 0, get_engine("cpu", 1, "fp32"), labelled=False)
    for number in range(6):
        assert len(set(feed.batch(number).keys.tolist())) == 8
    assert any(len(set(feed.batch(number).indices.tolist())) < 8 for number in range(6))


def test_the_global_generators_are_not_drawn_from(few, vae):
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    settings = {"augment": "both", "latent_augment": LatentAugment(vae), "features": AutoencoderFeatures(vae)}
    gan(10, loss="wgan_gp", **settings).fit(few)
    assert torch.equal(states[0], torch.get_rng_state())
    assert all(np.array_equal(a, b) for a, b in zip(states[1], np.random.get_state(), strict=True))
    assert states[2] == random.getstate()


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
