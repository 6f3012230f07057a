"""`AutoencoderTrainer`: it learns, it goes on exactly where it was killed, and it stops when it has to."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from augmentor._internal.random import seeded
from augmentor._internal.weights import fingerprint
from augmentor.autoencoders import Autoencoder, CallableAutoencoder, DenseAutoencoder, load_autoencoder
from augmentor.data import ArrayDataset, load_source
from augmentor.exceptions import DataError, InputError, OutputError, RangeError, ShapeError, TrainingError
from augmentor.training import AutoencoderTrainer


def model(corruption: str = "none") -> DenseAutoencoder:
    with seeded(0, "weights"):
        return DenseAutoencoder((1, 8, 8), latent_dim=8, corruption=corruption)


def trainer(autoencoder: Autoencoder | None = None, **settings) -> AutoencoderTrainer:
    return AutoencoderTrainer(autoencoder or model(), **{"progress": False, "epochs": 4, "batch_size": 32, **settings})


def weights(autoencoder: Autoencoder) -> str:
    return fingerprint(autoencoder.state_dict())


def network_of(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Without latent statistics, which are fitted after training."""
    return {name: value for name, value in state.items() if not name.startswith("stats.")}


@pytest.fixture
def few(digits) -> ArrayDataset:
    return digits.subset(torch.arange(200))


def watched(look) -> DenseAutoencoder:
    """The same model, which calls ``look(model, losses, images, generator)`` for each batch, and takes its answer."""
    autoencoder = model()
    losses_of = autoencoder.training_losses

    def training_losses(images, generator, progress=1.0):
        losses = losses_of(images, generator, progress)
        return look(autoencoder, losses, images, generator) or losses

    autoencoder.training_losses = training_losses
    return autoencoder


def stopping(steps: int) -> DenseAutoencoder:
    """The same model, whose loss is not a number after some steps."""
    left = [steps]

    def look(autoencoder, losses, *_):
        left[0] -= autoencoder.training
        return {name: value * float("nan") for name, value in losses.items()} if left[0] < 0 else None

    return watched(look)


# --- it learns


def test_it_learns_digits(trained_vae, digits):
    images = digits.images / 255
    assert (trained_vae(digits.images) - images).abs().mean() < 0.75 * (images - images.mean(0)).abs().mean()


def test_the_result_is_ready_to_use_and_its_statistics_make_the_latents_standard(few):
    autoencoder = model()
    result = trainer(autoencoder, val_fraction=0).fit(few)
    assert result is autoencoder
    assert not result.training
    assert bool(result.stats.fitted)
    z = result.stats.standardise(result.encode(few.images).mean)
    torch.testing.assert_close(z.mean(0), torch.zeros(8), atol=1e-4, rtol=0)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(8), atol=1e-3, rtol=0)


def test_the_seed_decides_the_weights_and_a_transform_changes_what_is_trained_on(few, global_rng_untouched):
    before = np.random.get_state()[1].copy()
    transform = v2.RandomAffine(10, translate=(0.1, 0.1))
    settings = {"seed": 3}, {"seed": 3, "transform": transform}, {"seed": 3, "transform": transform}, {"seed": 4}
    plain, first, again, other = (weights(trainer(model("gaussian(std=0.2)"), **s).fit(few)) for s in settings)
    assert first == again
    assert len({plain, first, other}) == 3
    assert (np.random.get_state()[1] == before).all()


def test_every_step_has_noise_of_its_own_and_every_validation_the_same(few):
    seeds = {True: [], False: []}
    autoencoder = watched(
        lambda model, losses, images, generator: seeds[model.training].append(generator.initial_seed())
    )
    trainer(autoencoder, epochs=40).fit(few)
    assert len(seeds[True]) == len(set(seeds[True])) == 240
    assert len(seeds[False]) == 3
    assert len(set(seeds[False])) == 1


def test_an_out_folder_gets_weights_history_settings_and_a_picture(few, tmp_path):
    train = trainer(out=tmp_path / "run", epochs=40)
    result = train.fit(few)
    assert sorted(os.listdir(tmp_path / "run")) == [
        "checkpoint.pt", "history.jsonl", "model.safetensors", "reconstructions.png", "run.json",
    ]  # fmt: skip
    assert weights(load_autoencoder(tmp_path / "run" / "model.safetensors")) == weights(result)
    lines = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert lines == train.history
    assert [line["step"] for line in lines] == [100, 200, 240]
    assert {"step", "epoch", "val_loss", "reconstruction"} <= set(lines[0])
    assert json.loads((tmp_path / "run" / "run.json").read_text())["epochs"] == 40
    assert (tmp_path / "run" / "reconstructions.png").read_bytes()[:4] == b"\x89PNG"


def test_float_images_without_labels_train_too_and_progress_is_shown_when_asked(few, capfd, monkeypatch):
    monkeypatch.setattr("augmentor._internal.progress._DELAY", 0.0)
    assert bool(trainer(epochs=1, progress=True).fit([image / 255 for image in few.images[:60]]).stats.fitted)
    assert "train dense" in capfd.readouterr().err


@pytest.mark.parametrize(("val_fraction", "held_out"), [(0.2, 40), (0, 0)])
def test_validation_images_are_never_trained_on(val_fraction, held_out, few, tmp_path):
    seen = {True: set(), False: set()}
    autoencoder = watched(
        lambda model, losses, images, _: seen[model.training].update(row.numpy().tobytes() for row in images)
    )
    result = trainer(autoencoder, val_fraction=val_fraction, out=tmp_path / "run").fit(few)
    assert (len(seen[True]), len(seen[False])) == (200 - held_out, held_out)
    assert not seen[True] & seen[False]
    if not held_out:  # the last weights stay
        checkpoint = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
        assert fingerprint(network_of(checkpoint["model"])) == fingerprint(network_of(result.state_dict()))


def test_the_best_weights_are_kept_and_training_stops_when_nothing_gets_better(few, tmp_path):
    states, given = [], iter([3.0, 1.0, 2.0, 1.5, 1.2, 0.1])

    def look(autoencoder, *_):
        if autoencoder.training:
            return None
        states.append(copy.deepcopy(autoencoder.state_dict()))
        return {"reconstruction": torch.tensor(next(given))}

    train = trainer(watched(look), epochs=1000, patience=3, out=tmp_path / "run")
    result = train.fit(few)
    assert [row["val_loss"] for row in train.history] == pytest.approx([3.0, 1.0, 2.0, 1.5, 1.2])
    assert fingerprint(network_of(states[1])) == fingerprint(network_of(result.state_dict()))
    again = trainer(epochs=1000, patience=3, out=tmp_path / "run").fit(few)
    assert weights(again) == weights(result)  # a run that stopped early is not trained on


def test_the_rate_rises_and_then_falls(few, monkeypatch):
    rates, step = [], torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self: rates.append(self.param_groups[0]["lr"]) or step(self))
    trainer(epochs=20, lr=1e-2, warmup=0.1).fit(few)
    top = int(np.argmax(rates))
    assert rates[0] < 0.2 * max(rates)
    assert max(rates) == pytest.approx(1e-2, rel=0.02)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] < 0.03 * max(rates)


def test_precision_and_weight_decay_change_the_weights(few):
    usual, coarse, decayed = (
        {name: weight.detach() for name, weight in trainer(epochs=2, **settings).fit(few).named_parameters()}
        for settings in ({}, {"precision": "bf16"}, {"weight_decay": 0.5})
    )
    assert all(weight.dtype == torch.float32 for weight in coarse.values())
    assert 0 < max(float((usual[name] - coarse[name]).abs().mean()) for name in usual) < 0.05
    assert sum(weight.norm() for weight in decayed.values()) < sum(weight.norm() for weight in usual.values())


# --- stopped and resumed


def test_a_loss_that_is_not_finite_stops_and_the_run_resumed_ends_like_one_that_did_not(few, tmp_path):
    run, whole = tmp_path / "run", tmp_path / "whole"
    settings = {"epochs": 50, "transform": v2.RandomAffine(5, interpolation=v2.InterpolationMode.BILINEAR)}
    with pytest.raises(TrainingError, match="the loss became nan at step 250; the last good checkpoint is kept"):
        trainer(stopping(250), out=run, **settings).fit(few)
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    assert state["step"] == 200
    assert all(value.isfinite().all() for value in state["model"].values())
    assert not (run / "model.safetensors").exists()
    assert len((run / "history.jsonl").read_text().splitlines()) == 2
    with open(run / "history.jsonl", "a") as file:  # as if killed before the checkpoint was written
        file.write('{"step": 300, "half": true}\n')
    resumed, expected = (trainer(out=out, **settings) for out in (run, whole))
    assert weights(resumed.fit(few)) == weights(expected.fit(few))
    assert resumed.history == expected.history
    for name in ("model.safetensors", "history.jsonl", "reconstructions.png"):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name


def train_digits(out: Path | str) -> None:
    data = load_source("digits").subset(torch.arange(200))
    trainer(model("gaussian(std=0.1)"), out=out, epochs=80).fit(data)


CODE = "import sys, torch, test_autoencoder_trainer as t; torch.set_num_threads(1); t.train_digits(sys.argv[1])"


@pytest.mark.slow
def test_a_killed_process_resumed_ends_with_the_same_weights_bit_for_bit(tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen([sys.executable, "-c", CODE, str(killed)], cwd=Path(__file__).parent)
    try:
        while not (killed / "history.jsonl").exists():
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    assert not (killed / "model.safetensors").exists()
    for out in (killed, whole):
        train_digits(out)
    for name in ("model.safetensors", "history.jsonl"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()


class Shifted:
    """A transform of somebody's own, which says nothing of itself."""

    def __call__(self, image):
        return image.roll(1, -1)


def test_a_finished_run_is_not_trained_again(few, tmp_path):
    transforms = Shifted(), Shifted()  # both at once, so that they lie at different places in memory
    first = trainer(out=tmp_path / "run", transform=transforms[0]).fit(few)
    files = {name: (tmp_path / "run" / name).read_bytes() for name in os.listdir(tmp_path / "run")}
    again = trainer(stopping(0), out=tmp_path / "run", transform=transforms[1])
    assert weights(again.fit(few)) == weights(first)
    assert {name: (tmp_path / "run" / name).read_bytes() for name in os.listdir(tmp_path / "run")} == files


def test_a_damaged_checkpoint_is_refused(few, tmp_path):
    trainer(out=tmp_path / "run").fit(few)
    checkpoint, history = tmp_path / "run" / "checkpoint.pt", tmp_path / "run" / "history.jsonl"
    whole = checkpoint.read_bytes()
    for damage in (
        lambda: checkpoint.write_bytes(whole[:500]),
        lambda: torch.save({"weights": torch.zeros(3)}, checkpoint),
        lambda: torch.save({"rounds": 1, "bomb": Shifted()}, checkpoint),
        lambda: checkpoint.write_bytes(whole) and history.unlink(),
    ):
        damage()
        with pytest.raises(TrainingError, match=r"cannot resume from .*; remove the folder to start again"):
            trainer(out=tmp_path / "run").fit(few)


def test_a_rate_that_blows_the_weights_up_is_an_error_even_in_the_last_step(few, tmp_path):
    train = trainer(lr=1e30, epochs=1, batch_size=200, out=tmp_path / "run")  # one step, then the validation
    with pytest.raises(TrainingError, match="lower rate"):
        train.fit(few)
    assert not (tmp_path / "run" / "checkpoint.pt").exists()
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_gradient_that_is_not_finite_is_noticed_before_it_reaches_the_weights(few):
    def poison(autoencoder, losses, *_):
        if autoencoder.training:
            losses["reconstruction"].register_hook(lambda gradient: gradient * float("inf"))

    autoencoder = watched(poison)
    with pytest.raises(TrainingError, match="gradient became"):
        trainer(autoencoder).fit(few)
    assert all(weight.isfinite().all() for weight in autoencoder.parameters())


# --- refused


def test_a_folder_of_a_run_with_other_settings_is_refused(few, digits, tmp_path):
    trainer(out=tmp_path / "run").fit(few)
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    for change in ({"epochs": 5}, {"lr": 1e-4}, {"patience": 2}):
        (name,) = change
        with pytest.raises(OutputError, match=f"holds a run with other settings \\({name}: .* there, .* asked"):
            trainer(out=tmp_path / "run", **change).fit(few)
    with pytest.raises(OutputError, match="dataset: "):
        trainer(out=tmp_path / "run").fit(digits.subset(torch.arange(1, 201)))
    with pytest.raises(OutputError, match="autoencoder: "):
        trainer(model("masking(rate=0.5)"), out=tmp_path / "run").fit(few)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


def test_settings_that_make_no_sense_are_refused():
    for settings in ({"epochs": 0}, {"lr": float("nan")}, {"val_fraction": 1}, {"warmup": 2}, {"precision": "fp16"}):
        with pytest.raises(InputError):
            trainer(**settings)
    adapted = CallableAutoencoder(lambda x: x.flatten(1), lambda z: z.reshape(-1, 1, 8, 8), (1, 8, 8), version="same")
    with pytest.raises(InputError, match=r"got an adapted one \(callable\)"):
        trainer(adapted)


def test_images_that_do_not_fit_are_refused_before_anything_is_written(few, tmp_path):
    shifted = [image.float() / 255 for image in few.images[:-1]] + [torch.full((1, 8, 8), 2.0)]
    for data, error, said in (
        (ArrayDataset(torch.zeros(10, 3, 8, 8, dtype=torch.uint8)), ShapeError, "3 channels"),
        (few.subset(torch.tensor([0])), DataError, "at least 2 images"),
        (shifted[::-1], RangeError, "AutoencoderTrainer takes images in"),
        ([image.long() for image in few.images], InputError, r"got torch\.int64"),
    ):
        with pytest.raises(error, match=said):
            trainer(out=tmp_path / "run").fit(data)
    assert not (tmp_path / "run").exists()
    with pytest.raises(RangeError):  # looked for in every batch, not in the first alone
        trainer(batch_size=8, transform=v2.RandomHorizontalFlip()).fit(shifted)
