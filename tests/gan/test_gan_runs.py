"""The folder of a GAN's run: what is written, the best snapshot, and resuming exactly after what went wrong."""

from __future__ import annotations

import io
import json
import math
import sys
import time

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import content, equal, flat, gan

from augmentor import LatentAugment
from augmentor._internal.random import seeded
from augmentor._internal.run import Run
from augmentor._internal.weights import read_header
from augmentor.exceptions import OutputError, TrainingError
from augmentor.gan import load_generator
from augmentor.gan.losses import Hinge
from augmentor.quality import ModuleFeatures


def events(folder) -> EventAccumulator:
    found = EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return found


def test_the_folder_holds_grids_history_and_events(few, tmp_path):
    trainer = gan(10, out=tmp_path, steps=5)
    trainer.fit(few)
    files = content(tmp_path)
    assert [json.loads(line) for line in files["history.jsonl"].splitlines()] == trainer.history
    names = {"d_loss", "g_loss", "real_sign", "fake_sign", "spread"}
    assert all(row.keys() == {"step", *names} for row in trainer.history)
    grids = [files[f"samples/step-000000{step}.png"] for step in (2, 4, 5)]
    for image in (Image.open(io.BytesIO(grid)) for grid in grids):
        assert (image.format, image.mode) == ("PNG", "RGB")
        assert image.width / image.height == pytest.approx(10 / 6, rel=0.02)  # a class a column
    assert len(set(grids)) == 3
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


# The best snapshot


@pytest.fixture
def scripted(monkeypatch):
    """Replaces the measurement by a script: ``scripted(5, 2, 3)``; an exception in it is raised."""

    def install(*fids):
        script = iter(fids)

        def compare(*args, **kwargs):
            value = next(script)
            if isinstance(value, BaseException):
                raise value
            return {"fid": float(value), "kid": -float(value)}

        monkeypatch.setattr("augmentor.gan.evaluation.compare", compare)

    return install


def test_the_best_snapshot_is_returned_and_saved_also_after_a_break(few, tmp_path, scripted):
    settings = {"steps": 6, "features": flat}
    scripted(5, 2, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        gan(**settings, out=tmp_path / "fid").fit(few)
    scripted(3)
    trainer = gan(**settings, out=tmp_path / "fid")
    best = trainer.fit(few)
    assert [row["fid"] for row in trainer.history] == [5, 2, 3]
    assert equal(best, gan(steps=4).fit(few))
    assert equal(load_generator(tmp_path / "fid/generator.safetensors"), best)
    assert read_header(tmp_path / "fid/generator.safetensors")["info"] == trainer.history[1]
    scripted(5, 2, 3)
    gan(**settings, out=tmp_path / "kid", best_by="kid").fit(few)
    assert read_header(tmp_path / "kid/generator.safetensors")["info"]["step"] == 2


def test_without_measurements_the_last_generator_is_returned(few, tmp_path):
    trainer = gan(out=tmp_path)
    assert equal(trainer.fit(few), load_generator(tmp_path / "generator.safetensors"))
    assert read_header(tmp_path / "generator.safetensors")["info"] == trainer.history[-1]


@pytest.mark.parametrize(("patience", "steps"), [(1, [2, 4, 6]), (2, [2, 4, 6, 8, 10, 12]), (None, [*range(2, 21, 2)])])
def test_training_ends_after_so_many_rounds_without_a_better_score(patience, steps, few, tmp_path, scripted):
    settings = {"steps": 20, "features": flat, "out": tmp_path, "patience": patience}
    scripted(5, 3, 4, 2, 2, 2, 2, 2, 2, 2)  # an equal score is no better
    trainer = gan(**settings)
    best = trainer.fit(few)
    assert [row["step"] for row in trainer.history] == steps
    scripted()  # asked again it measures nothing and gives the same
    assert equal(gan(**settings).fit(few), best)


def test_metrics_are_measured_against_the_reference(few, digits):
    asked = []

    def features(images):
        asked.append(len(images))
        return flat(images)

    trainer = gan(features=features, steps=2, seed=-1)
    trainer.fit(few, reference=digits.subset(torch.arange(30)))
    assert asked[-2:] == [30, 30]
    assert trainer.history[0].keys() >= {"fid", "kid", "precision", "recall"}


# Resuming


def test_what_was_written_after_the_last_checkpoint_is_not_there_twice(few, tmp_path, monkeypatch):
    """Stopped before its checkpoint: a round's events are written, and a kill may leave a line of history as well."""
    save = Run.save

    def stopping(run, state, row):
        if row["step"] == 6:
            raise KeyboardInterrupt
        save(run, state, row)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", stopping)
        with pytest.raises(KeyboardInterrupt):
            gan(steps=7, out=tmp_path).fit(few)
    history = tmp_path / "history.jsonl"
    history.write_text(history.read_text() + '{"step": 6, "fid": -1}\n')
    time.sleep(1.1)  # TensorBoard reads event files in the order of their names, which hold the second
    resumed, undisturbed = gan(steps=7, out=tmp_path), gan(steps=7)
    assert equal(resumed.fit(few), undisturbed.fit(few))
    assert [json.loads(line) for line in history.read_text().splitlines()] == undisturbed.history
    assert [event.step for event in events(tmp_path).Scalars("d_loss")] == [2, 4, 6, 7]


def test_other_settings_and_folders_of_others_are_refused(few, digits, tmp_path, vae):
    gan(out=tmp_path / "run").fit(few)
    before = content(tmp_path / "run")
    for trainer, data, said in [
        (gan(out=tmp_path / "run", lr=2e-3), few, r"lr: 0\.001 stored, 0\.002 given"),
        (gan(out=tmp_path / "run"), digits.subset(torch.arange(1, 101)), "dataset"),
        (gan(out=tmp_path / "run", augment="both", latent_augment=LatentAugment(vae)), few, "augment: 'none' stored"),
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


def test_scores_of_other_features_or_against_other_images_are_refused(few, digits, tmp_path):
    """The best snapshot would be chosen among scores that cannot be compared."""

    def features(seed: int) -> ModuleFeatures:
        with seeded(seed, "features"):
            return ModuleFeatures(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 8)))

    reference = digits.subset(torch.arange(200, 240))
    gan(out=tmp_path, features=features(0)).fit(few, reference)
    gan(out=tmp_path, features=features(0)).fit(few, reference)
    for seed, images, said in ((1, reference, "features_sha256"), (0, digits.subset(torch.arange(40)), "reference")):
        with pytest.raises(OutputError, match=said):
            gan(out=tmp_path, features=features(seed)).fit(few, images)


def test_a_finished_run_called_again_trains_no_more(few, tmp_path, monkeypatch):
    trained = gan(out=tmp_path).fit(few)
    before = content(tmp_path)
    again = gan(out=tmp_path)
    monkeypatch.setattr(again.method, "step", None)
    assert equal(again.fit(few), trained)
    assert content(tmp_path) == before


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


# What goes wrong in a step


class Breaks(Hinge):
    """A loss that at one call of the generator's does something to the logits."""

    def __init__(self, at: int, spoil):
        self._left, self._spoil = at, spoil

    def __str__(self) -> str:
        return str(Hinge())

    def generator(self, fake_logits):
        self._left -= 1
        return super().generator(fake_logits if self._left else self._spoil(fake_logits))


def with_poisoned_gradients(logits):
    logits.register_hook(lambda gradient: gradient * math.nan)
    return logits


@pytest.mark.parametrize(
    ("at", "spoil"),
    [
        (3, lambda logits: logits * math.nan),
        (3, lambda logits: logits * math.inf),
        # The losses of a round are from before its last update; what that made must be looked at as well.
        (4, with_poisoned_gradients),
    ],
    ids=["nan", "inf", "gradients"],
)
def test_numbers_that_are_not_finite_keep_the_last_good_checkpoint(at, spoil, few, tmp_path):
    with pytest.raises(TrainingError, match="the last good checkpoint is kept"):
        gan(out=tmp_path, steps=7, loss=Breaks(at, spoil)).fit(few)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["step"] == 2
    assert all(tensor.isfinite().all() for tensor in state["method"]["networks"]["generator"].values())
    resumed = gan(out=tmp_path, steps=7, loss="hinge")
    assert equal(resumed.fit(few), gan(steps=7, loss="hinge").fit(few))


def test_the_discriminator_learns_on_after_an_interruption(few):
    def interrupt(logits):
        raise KeyboardInterrupt

    trainer = gan(loss=Breaks(1, interrupt))
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(few)
    assert all(weight.requires_grad for weight in trainer.method.discriminator.parameters())
    trainer.fit(few)
