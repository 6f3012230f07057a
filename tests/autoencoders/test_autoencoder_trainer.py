"""`AutoencoderTrainer`: it learns, it goes on exactly where it was stopped, and it ends when it has to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
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
from augmentor.latents import LatentStats
from augmentor.quality import assess, reconstruction_psnr
from augmentor.training import AutoencoderTrainer


def model(corruption: str = "none") -> DenseAutoencoder:
    with seeded(0, "weights"):
        return DenseAutoencoder((1, 8, 8), latent_dim=8, corruption=corruption)


def trainer(autoencoder: Autoencoder | None = None, **settings) -> AutoencoderTrainer:
    return AutoencoderTrainer(autoencoder or model(), **{"progress": False, "steps": 24, "batch_size": 32, **settings})


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

    class Watched(DenseAutoencoder):
        def training_losses(self, images, generator, progress=1.0):
            losses = super().training_losses(images, generator, progress)
            return look(self, losses, images, generator) or losses

    with seeded(0, "weights"):
        return Watched((1, 8, 8), latent_dim=8)


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
    trainer(autoencoder, steps=240).fit(few)
    assert len(seeds[True]) == len(set(seeds[True])) == 240
    assert len(seeds[False]) == 3
    assert len(set(seeds[False])) == 1


def test_an_out_folder_gets_weights_history_settings_and_a_picture(few, tmp_path):
    train = trainer(out=tmp_path / "run", steps=240)
    result = train.fit(few)
    assert sorted(os.listdir(tmp_path / "run")) == [
        "checkpoint.pt", "history.jsonl", "model.safetensors", "reconstructions.png", "run.json",
    ]  # fmt: skip
    assert weights(load_autoencoder(tmp_path / "run" / "model.safetensors")) == weights(result)
    lines = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert lines == train.history
    assert [line["step"] for line in lines] == [100, 200, 240]
    assert set(lines[0]) == {"step", "epoch", "psnr_db", "val_loss", "reconstruction", "lr", "seconds"}
    held_out = few.subset(torch.tensor(train.held_out))
    assert max(line["psnr_db"] for line in lines) == pytest.approx(reconstruction_psnr(result, held_out), abs=1e-4)
    settings = json.loads((tmp_path / "run" / "run.json").read_text())
    assert settings["min_steps"] == 1000
    assert not {"steps", "minutes"} & settings.keys()
    assert (tmp_path / "run" / "reconstructions.png").read_bytes()[:4] == b"\x89PNG"


def test_float_images_without_labels_train_too_and_progress_is_shown_when_asked(few, capfd, monkeypatch):
    monkeypatch.setattr("augmentor._internal.progress.DELAY", 0.0)
    monkeypatch.setattr("augmentor._internal.progress._PAUSE", 0.0)
    assert bool(trainer(steps=101, progress=True).fit([image / 255 for image in few.images[:60]]).stats.fitted)
    said = capfd.readouterr().err
    assert "train dense: 50% 50/101 [" in said
    assert "step/s, img/s=" in said
    assert " dB]" in said


@pytest.mark.parametrize(("val_fraction", "held_out"), [(0.2, 40), (0, 0)])
def test_validation_images_are_neither_trained_on_nor_moved(val_fraction, held_out, few, tmp_path):
    seen = {True: set(), False: set()}
    autoencoder = watched(
        lambda model, losses, images, _: seen[model.training].update(row.numpy().tobytes() for row in images)
    )
    train = trainer(autoencoder, val_fraction=val_fraction, transform=Shifted(), out=tmp_path / "run")
    result = train.fit(few)
    original, shifted = (
        {index: (Shifted()(image) if moved else image).float().div(255).numpy().tobytes()
         for index, image in enumerate(few.images)} for moved in (False, True)
    )  # fmt: skip
    assert len(train.held_out) == held_out
    assert seen[False] == {original[index] for index in train.held_out}
    assert seen[True] == {shifted[index] for index in range(200) if index not in train.held_out}
    if not held_out:  # the last averaged weights stay
        checkpoint = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
        assert fingerprint(network_of(checkpoint["averaged"])) == fingerprint(network_of(result.state_dict()))


def test_small_sets_are_moved_and_large_ones_are_not(few):
    large = ArrayDataset(torch.cat([few.images] * 25))
    saw: list[bool] = []
    real = {image.float().div(255).numpy().tobytes() for image in few.images}
    autoencoder = watched(
        lambda model, losses, images, _: saw.append(
            model.training and all(row.numpy().tobytes() in real for row in images)
        )
    )
    for data, expected in ((few, False), (large, True)):
        saw.clear()
        trainer(autoencoder, steps=1, val_fraction=0).fit(data)
        assert saw == [expected]


def test_training_ends_when_psnr_has_stopped_rising_and_the_best_weights_are_kept(few, tmp_path, monkeypatch):
    def measuring(*figures):
        given = iter(figures)
        monkeypatch.setattr(
            "augmentor.autoencoders.trainer.psnr", lambda made, images: torch.full((len(images),), next(given))
        )

    monkeypatch.setattr("augmentor.autoencoders.trainer._INTERVAL", 20)
    settings = {"lr": 1e-2, "min_steps": 20, "warmup": 10, "patience": 2}
    measuring(10.0, 12.0, 12.02, 11.0, 12.0, 12.0, 11.0, 12.01)
    train = trainer(steps=None, out=tmp_path / "run", **settings)
    result = train.fit(few)
    assert (train.ended, train.steps_taken) == ("plateau", 160)
    assert [row["lr"] / 1e-2 for row in train.history] == pytest.approx([1] * 4 + [1 / 4] * 2 + [1 / 16] * 2)
    measuring(10.0, 12.0, 12.02)
    assert weights(trainer(steps=60, **settings).fit(few)) == weights(result)
    again = trainer(stopping(0), steps=None, out=tmp_path / "run", **settings)
    assert weights(again.fit(few)) == weights(result)  # a run that has ended is not trained on
    assert again.ended == "done"
    measuring(13.0)
    further = trainer(steps=180, out=tmp_path / "run", **settings)  # unless more is asked for
    assert weights(further.fit(few)) != weights(result)
    assert [row["psnr_db"] for row in further.history[-2:]] == pytest.approx([12.01, 13.0])


def test_the_rate_rises_over_the_first_steps_and_then_stays(few, monkeypatch):
    rates, step = [], torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self: rates.append(self.param_groups[0]["lr"]) or step(self))
    trainer(steps=30, lr=1e-2, warmup=20).fit(few)
    assert rates == pytest.approx([1e-2 * min(1, (step + 1) / 20) for step in range(30)])


def test_a_pretrained_autoencoder_is_fine_tuned_from_where_it_is(digits, tmp_path):
    train = trainer(load_autoencoder("digits"), steps=1, start="digits", out=tmp_path / "run")
    train.fit(digits)
    before = reconstruction_psnr(load_autoencoder("digits"), digits.subset(torch.tensor(train.held_out)))
    assert train.history[-1]["psnr_db"] == pytest.approx(before, abs=0.5)
    with pytest.raises(OutputError, match="from: 'digits' stored, None given"):
        trainer(load_autoencoder("digits"), out=tmp_path / "run").fit(digits)


def test_precision_and_weight_decay_change_the_weights(few):
    usual, coarse, decayed = (
        {name: weight.detach() for name, weight in trainer(**settings).fit(few).named_parameters()}
        for settings in ({}, {"precision": "bf16"}, {"weight_decay": 0.5})
    )
    assert all(weight.dtype == torch.float32 for weight in coarse.values())
    assert 0 < max(float((usual[name] - coarse[name]).abs().mean()) for name in usual) < 0.05
    assert sum(weight.norm() for weight in decayed.values()) < sum(weight.norm() for weight in usual.values())


# --- stopped and resumed


def test_a_loss_that_is_not_finite_stops_and_the_run_resumed_ends_like_one_that_did_not(few, tmp_path):
    run, whole = tmp_path / "run", tmp_path / "whole"
    settings = {"steps": 300, "transform": v2.RandomAffine(5, interpolation=v2.InterpolationMode.BILINEAR)}
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
    assert_same_runs(run, whole)


def rows(run: Path) -> list[dict]:
    """The history without the time that it took."""
    lines = map(json.loads, (run / "history.jsonl").read_text().splitlines())
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def assert_same_runs(run: Path, other: Path) -> None:
    assert rows(run) == rows(other)
    for name in ("model.safetensors", "reconstructions.png", "run.json"):
        assert (run / name).read_bytes() == (other / name).read_bytes(), name


def train_digits(out: Path | str) -> None:
    data = load_source("digits").subset(torch.arange(200))
    trainer(model("gaussian(std=0.1)"), out=out, steps=450).fit(data)


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
    assert_same_runs(killed, whole)


def test_a_run_goes_on_when_more_steps_are_asked_for_and_is_done_when_fewer_are(few, tmp_path):
    pieces, whole = tmp_path / "pieces", tmp_path / "whole"
    for steps in (30, 130, 250):
        trainer(model("gaussian(std=0.1)"), out=pieces, steps=steps).fit(few)
        assert [row["step"] for row in rows(pieces)] == [*range(100, steps, 100), steps]
    trainer(model("gaussian(std=0.1)"), out=whole, steps=250).fit(few)
    assert_same_runs(pieces, whole)
    fewer = trainer(model("gaussian(std=0.1)"), out=pieces, steps=130)
    fewer.fit(few)
    assert (fewer.ended, fewer.steps_taken) == ("done", 250)
    assert_same_runs(pieces, whole)


def test_minutes_end_a_run_that_goes_on_as_if_nothing_had_happened(few, tmp_path):
    pieces, whole = tmp_path / "pieces", tmp_path / "whole"
    train = trainer(out=pieces, steps=None, minutes=0.002)
    train.fit(few)
    assert train.ended == "minutes"
    assert train.history[-1]["step"] == train.steps_taken > 0
    for out in (pieces, whole):
        trainer(out=out, steps=train.steps_taken + 60).fit(few)
    assert_same_runs(pieces, whole)


@pytest.mark.parametrize("at", [1, 137])
def test_ctrl_c_writes_everything_and_the_run_goes_on_as_if_nothing_had_happened(at, few, tmp_path):
    stopped, whole, left = tmp_path / "stopped", tmp_path / "whole", [at]

    def interrupt(autoencoder, *_):
        left[0] -= autoencoder.training
        if left[0] == 0 and autoencoder.training:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match=f"stopped at step {at} of 250; start it the same way to resume from"):
        trainer(watched(interrupt), out=stopped, steps=250).fit(few)
    assert bool(load_autoencoder(stopped).stats.fitted)
    assert rows(stopped)[-1]["step"] == at
    assert (stopped / "reconstructions.png").exists()
    for out in (stopped, whole):
        trainer(out=out, steps=250).fit(few)
    assert_same_runs(stopped, whole)


def test_ctrl_c_after_the_last_step_says_that_all_is_done(few, tmp_path, monkeypatch, capfd):
    fit = LatentStats.fit
    monkeypatch.setattr(LatentStats, "fit", lambda *args: (signal.raise_signal(signal.SIGINT), fit(*args)))
    with pytest.raises(KeyboardInterrupt, match="ended at step 5, and all results are written"):
        trainer(out=tmp_path / "run", steps=5).fit(few)
    assert (tmp_path / "run" / "model.safetensors").exists()
    assert "press Ctrl-C again" in capfd.readouterr().err


def test_no_time_at_all_is_not_nothing_to_do(few):
    train = trainer(steps=None, minutes=1e-9)
    train.fit(few)
    assert (train.ended, train.steps_taken) == ("minutes", 0)


def test_a_clock_that_stands_still_is_no_error(few, monkeypatch):
    monkeypatch.setattr("augmentor.autoencoders.trainer.time.monotonic", lambda: 5.0)
    assert trainer(steps=3).fit(few).stats.fitted


def test_large_images_are_validated_a_few_at_a_time(few, monkeypatch):
    monkeypatch.setattr("augmentor.autoencoders.trainer._PIXELS", 3 * 64)
    sizes = []
    seen = watched(lambda autoencoder, losses, images, generator: sizes.append(len(images)))
    trainer(seen, steps=2, val_fraction=0.05).fit(few)
    assert sizes == [32, 32, 3, 3, 3, 1]


def test_a_second_ctrl_c_stops_at_once_and_other_threads_train_too(few, tmp_path):
    def twice(autoencoder, *_):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trainer(watched(twice), out=tmp_path / "run").fit(few)
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    thread = threading.Thread(target=lambda: trainer(out=tmp_path / "run").fit(few))
    thread.start()
    thread.join()
    assert (tmp_path / "run" / "model.safetensors").exists()


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
    train = trainer(lr=1e30, steps=1, warmup=0, batch_size=200, out=tmp_path / "run")  # one step, then the validation
    with pytest.raises(TrainingError, match="learning rate below"):
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
    for change in ({"min_steps": 5}, {"lr": 1e-4}, {"patience": 2}):
        (name,) = change
        with pytest.raises(OutputError, match=f"holds a run with other settings \\({name}: .* stored, .* given"):
            trainer(out=tmp_path / "run", **change).fit(few)
    with pytest.raises(OutputError, match="dataset: "):
        trainer(out=tmp_path / "run").fit(digits.subset(torch.arange(1, 201)))
    with pytest.raises(OutputError, match="autoencoder: "):
        trainer(model("masking(rate=0.5)"), out=tmp_path / "run").fit(few)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


def test_settings_that_make_no_sense_are_refused():
    for settings in (
        {"steps": 0}, {"lr": float("nan")}, {"val_fraction": 1}, {"warmup": -2}, {"precision": "fp16"}, {"minutes": 0},
        {"val_fraction": 0, "steps": None}, {"transform": "geometry"}, {"minutes": float("inf")}, {"steps": 2.5},
        {"steps": "3"}, {"batch_size": 2.5},
    ):  # fmt: skip
        with pytest.raises(InputError):
            trainer(**settings)
    adapted = CallableAutoencoder(lambda x: x.flatten(1), lambda z: z.reshape(-1, 1, 8, 8), (1, 8, 8), version="same")
    with pytest.raises(InputError, match=r"got an adapted one \(callable\)"):
        trainer(adapted)
    with pytest.raises(InputError, match=r"got torch\.float64"):
        trainer(model().double())
    with pytest.raises(InputError, match=r"a map-style data set.* got list_iterator"):
        trainer().fit(iter([torch.zeros(1, 8, 8)] * 9))


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


# The verdict


def test_the_verdict_on_held_out_images_stands_in_the_weights(few, tmp_path):
    train = trainer(steps=200, out=tmp_path / "run")
    verdict = train.fit(few).verdict
    assert verdict is not None
    assert verdict.images == len(train.held_out)
    unseen = [few[index] for index in train.held_out]
    assert verdict.psnr_db == pytest.approx(assess(train.autoencoder, unseen).psnr_db, abs=1e-4)
    assert load_autoencoder(tmp_path / "run").verdict == verdict


def test_without_held_out_images_there_is_no_verdict(few, tmp_path):
    assert trainer(steps=2, val_fraction=0, out=tmp_path / "run").fit(few).verdict is None
    assert load_autoencoder(tmp_path / "run").verdict is None


def test_an_autoencoder_that_has_learnt_nothing_is_poor(few):
    assert trainer(steps=1).fit(few).verdict.word == "poor"
