"""`AutoencoderTrainer`: it learns, it goes on exactly where it was killed, and it stops when it has to."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from tqdm import tqdm

from augmentor._internal.batches import BatchStream
from augmentor._internal.random import seeded
from augmentor._internal.weights import fingerprint, load_network
from augmentor.autoencoders import Autoencoder, CallableAutoencoder, ConvVAE, DenseAutoencoder, autoencoders
from augmentor.data import ArrayDataset
from augmentor.exceptions import DataError, InputError, OutputError, RangeError, ShapeError, TrainingError
from augmentor.training import AutoencoderTrainer


def model(corruption: str = "none") -> DenseAutoencoder:
    with seeded(0, "weights"):
        return DenseAutoencoder((1, 8, 8), latent_dim=8, corruption=corruption)


def trainer(autoencoder: Autoencoder | None = None, **settings) -> AutoencoderTrainer:
    return AutoencoderTrainer(autoencoder or model(), **{"progress": False, "epochs": 4, "batch_size": 32, **settings})


def weights(autoencoder: Autoencoder) -> str:
    return fingerprint(autoencoder.state_dict())


@pytest.fixture
def few(digits) -> ArrayDataset:
    return digits.subset(torch.arange(200))


class StopHere(Exception):
    """Stands for whatever ends a process."""


def stopping(steps: int, last: float | None = None, **arguments) -> DenseAutoencoder:
    """The same model, which after some steps fails, or whose loss is then multiplied by `last`."""
    autoencoder = model(**arguments)
    losses_of, left = autoencoder.training_losses, [steps]

    def training_losses(images, generator, progress=1.0):
        left[0] -= autoencoder.training
        if left[0] >= 0:
            return losses_of(images, generator, progress)
        if last is None:
            raise StopHere
        return {name: value * last for name, value in losses_of(images, generator, progress).items()}

    autoencoder.training_losses = training_losses
    return autoencoder


# --- it learns


def test_it_learns_digits(digits):
    with seeded(0, "weights"):
        autoencoder = ConvVAE((1, 8, 8), latent_dim=8, width=8, beta=0.1)
    train = trainer(autoencoder, epochs=22, batch_size=128)
    result = train.fit(digits)
    assert [row["val_loss"] for row in train.history] == sorted(
        (row["val_loss"] for row in train.history), reverse=True
    )
    assert len(train.history) == 3
    error = (result(digits.images) - digits.images / 255).abs().mean()
    mean_image = (digits.images / 255).mean(0)
    assert error < 0.75 * (digits.images / 255 - mean_image).abs().mean()


def test_the_result_is_ready_to_use(few):
    autoencoder = model()
    result = trainer(autoencoder).fit(few)
    assert result is autoencoder
    assert not result.training
    assert bool(result.stats.fitted)


def test_the_statistics_make_the_latents_standard(few):
    result = trainer(val_fraction=0).fit(few)
    z = result.stats.standardise(result.encode(few.images).mean)
    torch.testing.assert_close(z.mean(0), torch.zeros(8), atol=1e-4, rtol=0)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(8), atol=1e-3, rtol=0)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(few, global_rng_untouched):
    before = np.random.get_state()[1].copy()
    first, again = (weights(trainer(model("gaussian(std=0.2)"), seed=3).fit(few)) for _ in range(2))
    assert first == again
    assert first != weights(trainer(model("gaussian(std=0.2)"), seed=4).fit(few))
    assert (np.random.get_state()[1] == before).all()


def test_every_step_has_noise_of_its_own_and_every_judgement_the_same(few):
    autoencoder = model()
    losses_of, seeds = autoencoder.training_losses, {True: [], False: []}

    def training_losses(images, generator, progress=1.0):
        seeds[autoencoder.training].append(generator.initial_seed())
        return losses_of(images, generator, progress)

    autoencoder.training_losses = training_losses
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
    loaded = load_network(tmp_path / "run" / "model.safetensors", autoencoders)
    assert weights(loaded) == weights(result)
    lines = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    assert lines == train.history
    assert [line["step"] for line in lines] == [100, 200, 240]
    assert {"step", "epoch", "val_loss", "reconstruction"} <= set(lines[0])
    assert json.loads((tmp_path / "run" / "run.json").read_text())["epochs"] == 40
    assert (tmp_path / "run" / "reconstructions.png").read_bytes()[:4] == b"\x89PNG"


def test_float_images_and_images_without_labels_train_too(few):
    class Floats:
        def __len__(self):
            return 60

        def __getitem__(self, index):
            return few.images[index] / 255

    assert bool(trainer(epochs=1).fit(Floats()).stats.fitted)


def test_without_validation_all_images_train_and_the_last_weights_stay(few, tmp_path):
    train = trainer(val_fraction=0, epochs=40, out=tmp_path / "run")
    seen = set()
    stream = BatchStream(few, train._split(len(few))[0], 32, 0)
    for step in range(stream.steps_per_epoch + 1):
        seen |= set(stream.indices(step).tolist())
    assert seen == set(range(200))
    result = train.fit(few)
    checkpoint = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    last = {name: value for name, value in checkpoint["model"].items() if not name.startswith("stats.")}
    assert all(torch.equal(result.state_dict()[name], value) for name, value in last.items())


def test_the_best_weights_are_kept_and_training_stops_when_nothing_gets_better(few, monkeypatch, tmp_path):
    judgements = iter([3.0, 1.0, 2.0, 1.5, 1.2, 0.1])
    evaluated = []

    def evaluator(self, autoencoder, dataset, members):
        evaluated.append(copy.deepcopy(autoencoder.state_dict()))
        return next(judgements)

    monkeypatch.setattr(AutoencoderTrainer, "_validation_loss", evaluator)
    train = trainer(epochs=1000, patience=3, out=tmp_path / "run")
    result = train.fit(few)
    assert [row["val_loss"] for row in train.history] == [3.0, 1.0, 2.0, 1.5, 1.2]
    for name, value in evaluated[1].items():
        if not name.startswith("stats."):
            assert torch.equal(result.state_dict()[name], value), name
    again = trainer(epochs=1000, patience=3, out=tmp_path / "run").fit(few)
    assert weights(again) == weights(result)  # a run that stopped early is not trained on


def test_validation_images_are_never_trained_on(few):
    train, held_out = trainer(val_fraction=0.2)._split(200)
    assert len(held_out) == 40
    assert sorted([*train.tolist(), *held_out.tolist()]) == list(range(200))


def test_the_rate_rises_and_then_falls(few, monkeypatch):
    rates = []
    step = torch.optim.AdamW.step

    def spy(self, *arguments, **named):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *arguments, **named)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    trainer(epochs=20, lr=1e-2, warmup=0.1).fit(few)
    top = int(np.argmax(rates))
    assert rates[0] < 0.2 * max(rates)
    assert max(rates) == pytest.approx(1e-2, rel=0.02)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] < 0.03 * max(rates)


# --- the transform of training images


def test_a_transform_changes_what_is_trained_on_and_draws_the_same_again(few, global_rng_untouched):
    plain = weights(trainer().fit(few))
    transform = v2.RandomAffine(10, translate=(0.1, 0.1))
    first, again = (weights(trainer(transform=transform).fit(few)) for _ in range(2))
    assert first == again
    assert first != plain


def test_a_transform_sees_every_image_of_a_batch_and_its_result_is_brought_into_range(few):
    seen = []

    def brighten(image):
        seen.append(image.dtype)
        return image.float() / 255 * 3 - 1

    result = trainer(transform=brighten, epochs=1).fit(few)
    assert set(seen) == {torch.uint8}
    assert len(seen) == 6 * 32
    assert bool(result.stats.fitted)


# --- stopped and resumed


def test_a_run_that_failed_midway_and_was_resumed_ends_like_one_that_did_not(few, tmp_path):
    settings = {"epochs": 60, "transform": v2.RandomRotation(5)}
    train = trainer(stopping(250), out=tmp_path / "run", **settings)
    with pytest.raises(StopHere):
        train.fit(few)
    assert len((tmp_path / "run" / "history.jsonl").read_text().splitlines()) == 2
    resumed = trainer(out=tmp_path / "run", **settings)
    expected = trainer(out=tmp_path / "whole", **settings)
    assert weights(resumed.fit(few)) == weights(expected.fit(few))
    assert resumed.history == expected.history
    for name in ("model.safetensors", "history.jsonl", "reconstructions.png"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


SCRIPT = """
    import sys, torch
    torch.set_num_threads(1)
    from augmentor._random import seeded
    from augmentor.autoencoders.vae import ConvVAE
    from augmentor.data.sources import load_source
    from augmentor.training import AutoencoderTrainer
    with seeded(0, "weights"):
        model = ConvVAE((1, 8, 8), latent_dim=8, width=8, corruption="gaussian(std=0.1)")
    data = load_source("digits").subset(torch.arange(400))
    AutoencoderTrainer(model, out=sys.argv[1], epochs=50, batch_size=32, progress=False).fit(data)
"""


def test_a_killed_process_resumed_ends_with_the_same_weights_bit_for_bit(digits, tmp_path):
    history = tmp_path / "killed" / "history.jsonl"
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(SCRIPT), str(tmp_path / "killed")])
    try:
        while not history.exists() or history.read_text().count("\n") < 2:
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    rounds = history.read_text().count("\n")
    results = []
    for name in ("killed", "undisturbed"):
        with seeded(0, "weights"):
            autoencoder = ConvVAE((1, 8, 8), latent_dim=8, width=8, corruption="gaussian(std=0.1)")
        train = trainer(autoencoder, out=tmp_path / name, epochs=50)
        train.fit(digits.subset(torch.arange(400)))
        assert len(train.history) == 6 > rounds
        results.append((tmp_path / name / "model.safetensors").read_bytes())
    assert results[0] == results[1]


def test_a_finished_run_is_not_trained_again(few, tmp_path):
    first = trainer(out=tmp_path / "run").fit(few)
    files = {name: (tmp_path / "run" / name).read_bytes() for name in os.listdir(tmp_path / "run")}
    again = trainer(stopping(0), out=tmp_path / "run")
    assert weights(again.fit(few)) == weights(first)
    assert {name: (tmp_path / "run" / name).read_bytes() for name in os.listdir(tmp_path / "run")} == files


def test_a_kill_between_history_and_checkpoint_loses_only_that_line(few, tmp_path):
    expected = trainer(out=tmp_path / "whole", epochs=60).fit(few)
    train = trainer(stopping(150), out=tmp_path / "run", epochs=60)
    with pytest.raises(StopHere):
        train.fit(few)
    with open(tmp_path / "run" / "history.jsonl", "a") as file:
        file.write('{"step": 200, "half": true}\n')
    resumed = trainer(out=tmp_path / "run", epochs=60)
    assert weights(resumed.fit(few)) == weights(expected)
    assert "half" not in (tmp_path / "run" / "history.jsonl").read_text()


class Shifted:
    """A transform of somebody's own, which says nothing of itself."""

    def __call__(self, image):
        return image.roll(1, -1)


def test_a_run_with_a_transform_of_ones_own_can_be_resumed(few, tmp_path):
    first = trainer(out=tmp_path / "run", transform=Shifted()).fit(few)
    keep_alive = Shifted()  # so that the next one lies elsewhere in memory
    assert weights(trainer(out=tmp_path / "run", transform=Shifted()).fit(few)) == weights(first)
    assert keep_alive is not None


@pytest.mark.parametrize("damage", ["truncated", "foreign", "pickle", "history"])
def test_a_damaged_checkpoint_is_refused(few, tmp_path, damage):
    trainer(out=tmp_path / "run").fit(few)
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    if damage == "truncated":
        checkpoint.write_bytes(checkpoint.read_bytes()[:500])
    elif damage == "foreign":
        torch.save({"weights": torch.zeros(3)}, checkpoint)
    elif damage == "pickle":
        torch.save({"rounds": 1, "bomb": Shifted()}, checkpoint)
    else:
        (tmp_path / "run" / "history.jsonl").unlink()
    with pytest.raises(TrainingError, match=r"cannot resume from .*; remove the folder to start again"):
        trainer(out=tmp_path / "run").fit(few)


# --- loss that is not a number


@pytest.mark.parametrize("last", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_and_the_last_checkpoint_stays(few, tmp_path, last):
    train = trainer(stopping(150, last), out=tmp_path / "run", epochs=60)
    with pytest.raises(TrainingError, match=rf"the loss became {last} at step 150; the last good checkpoint is kept"):
        train.fit(few)
    state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert state["step"] == 100
    assert all(value.isfinite().all() for value in state["model"].values())
    assert not (tmp_path / "run" / "model.safetensors").exists()
    expected = trainer(out=tmp_path / "whole", epochs=60).fit(few)
    assert weights(trainer(out=tmp_path / "run", epochs=60).fit(few)) == weights(expected)


def test_a_rate_that_blows_the_weights_up_is_an_error_even_in_the_last_step(few, tmp_path):
    train = trainer(lr=1e30, epochs=1, batch_size=200, out=tmp_path / "run")  # one step, then the judgement
    with pytest.raises(TrainingError, match="lower rate"):
        train.fit(few)
    assert not (tmp_path / "run" / "checkpoint.pt").exists()
    assert not (tmp_path / "run" / "model.safetensors").exists()


# --- refused


@pytest.mark.parametrize("change", [{"epochs": 5}, {"lr": 1e-4}, {"seed": 1}, {"batch_size": 16}, {"patience": 2}])
def test_a_folder_of_a_run_with_other_settings_is_refused(few, tmp_path, change):
    trainer(out=tmp_path / "run").fit(few)
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    (name,) = change
    with pytest.raises(OutputError, match=f"holds a run with other settings \\({name}: .* there, .* asked"):
        trainer(out=tmp_path / "run", **change).fit(few)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


def test_other_data_and_another_autoencoder_are_other_settings(few, digits, tmp_path):
    trainer(out=tmp_path / "run").fit(few)
    with pytest.raises(OutputError, match="dataset: "):
        trainer(out=tmp_path / "run").fit(digits.subset(torch.arange(1, 201)))
    with pytest.raises(OutputError, match="autoencoder: "):
        trainer(model("masking(rate=0.5)"), out=tmp_path / "run").fit(few)


def test_a_folder_that_holds_other_things_is_refused_and_left_alone(few, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(OutputError, match=r"holds other things \(thesis\.tex\)"):
        trainer(out=tmp_path).fit(few)
    assert os.listdir(tmp_path) == ["thesis.tex"]


@pytest.mark.parametrize(
    "settings",
    [{"epochs": 0}, {"batch_size": 0}, {"lr": 0}, {"lr": -1}, {"lr": float("nan")}, {"patience": 0},
     {"val_fraction": 1.0}, {"val_fraction": -0.1}, {"warmup": 1.5}, {"val_fraction": float("nan")}],
    ids=str,
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(InputError):
        trainer(**settings)


def test_images_that_do_not_fit_are_refused_before_anything_is_written(few, tmp_path):
    rgb = ArrayDataset(torch.zeros(10, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(ShapeError, match="3 channels"):
        trainer(out=tmp_path / "run").fit(rgb)
    with pytest.raises(DataError, match="at least 2 images"):
        trainer(out=tmp_path / "run").fit(few.subset(torch.tensor([0])))
    shifted = [2 * image.float() / 255 - 1 for image in few.images]
    shifted[0] *= 0  # the first alone would pass
    with pytest.raises(RangeError, match="AutoencoderTrainer takes images in"):
        trainer(out=tmp_path / "run").fit(shifted)
    with pytest.raises(InputError, match=r"got torch\.int64"):
        trainer(out=tmp_path / "run").fit([image.long() for image in few.images])
    assert not (tmp_path / "run").exists()


def test_values_out_of_range_are_noticed_in_every_batch(few):
    images = [image.float() / 255 for image in few.images]
    images[-1] = images[-1] + 1
    for transform in (None, v2.RandomHorizontalFlip()):
        with pytest.raises(RangeError):
            trainer(batch_size=8, transform=transform).fit(images)


def test_an_adapted_model_is_trained_where_it_comes_from():
    adapted = CallableAutoencoder(lambda x: x.flatten(1), lambda z: z.reshape(-1, 1, 8, 8), (1, 8, 8), version="same")
    with pytest.raises(InputError, match=r"got an adapted one \(callable\)"):
        trainer(adapted)


# --- the order of samples


def test_each_epoch_shows_every_sample_once_in_its_own_order(few):
    stream = BatchStream(few, range(200), 40, seed=1)
    epochs = [np.concatenate([stream.indices(5 * e + s) for s in range(5)]) for e in range(3)]
    for order in epochs:
        assert sorted(order.tolist()) == list(range(200))
    assert not np.array_equal(epochs[0], epochs[1])
    fresh = BatchStream(few, range(200), 40, seed=1)
    assert np.array_equal(fresh.indices(12), stream.indices(12))
    assert not np.array_equal(BatchStream(few, range(200), 40, seed=2).indices(12), stream.indices(12))


def test_batches_run_on_across_the_end_of_an_epoch(few):
    stream = BatchStream(few, range(10), 7, seed=0)
    assert stream.steps_per_epoch == 1
    laid = np.concatenate([stream.indices(step) for step in range(10)])
    for epoch in range(7):
        assert sorted(laid[10 * epoch : 10 * epoch + 10].tolist()) == list(range(10))


def test_a_gradient_that_is_not_finite_is_noticed_before_it_reaches_the_weights(digits):
    class Poisoned(ConvVAE):
        def training_losses(self, images, generator, progress=1.0):
            losses = super().training_losses(images, generator, progress)
            loss = losses["reconstruction"]
            loss.register_hook(lambda gradient: gradient * float("inf"))
            return losses

    Poisoned.name = "vae"
    model = Poisoned((1, 8, 8), latent_dim=4, width=8)
    trainer = AutoencoderTrainer(model, epochs=1, val_fraction=0, progress=False)
    with pytest.raises(TrainingError, match="gradient became"):
        trainer.fit(digits.subset(torch.arange(64)))
    assert all(weight.isfinite().all() for weight in model.parameters())


def test_precision_and_weight_decay_change_the_weights(few):
    def trained(**settings):
        trained = trainer(model(), epochs=2, **settings).fit(few)
        return {name: weight.detach() for name, weight in trained.named_parameters()}

    usual, coarse, decayed = trained(), trained(precision="bf16"), trained(weight_decay=0.5)
    assert all(weight.dtype == torch.float32 for weight in coarse.values())
    assert 0 < max(float((usual[name] - coarse[name]).abs().mean()) for name in usual) < 0.05
    assert sum(weight.norm() for weight in decayed.values()) < sum(weight.norm() for weight in usual.values())


def test_progress_is_shown_when_asked(few, capfd, monkeypatch):
    monkeypatch.setattr("augmentor.autoencoders.trainer.tqdm", lambda *a, **k: tqdm(*a, **{**k, "delay": 0}))
    AutoencoderTrainer(model(), epochs=1, progress=True).fit(few)
    assert "train dense" in capfd.readouterr().err
