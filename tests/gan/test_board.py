"""Runs in TensorBoard, where it is installed."""

from __future__ import annotations

import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from augmentor.gan import GAN
from augmentor.training import GANTrainer


def trainer(out) -> GANTrainer:
    method = GAN("dcgan(width=8)", image_shape=(1, 8, 8))
    return GANTrainer(method, steps=6, round_steps=2, batch_size=8, progress=False, out=out)


def test_the_history_and_the_grids_are_there(digits, tmp_path):
    train = trainer(tmp_path)
    train.fit(digits)
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    names = {"d_loss", "g_loss", "real_sign", "fake_sign", "spread"}
    assert set(found.Tags()["scalars"]) == names
    for name in names:
        events = [(event.step, event.value) for event in found.Scalars(name)]
        assert events == [(row["step"], pytest.approx(row[name])) for row in train.history]
    assert [event.step for event in found.Images("samples")] == [2, 4, 6]


def test_a_resumed_run_replaces_what_came_after_its_checkpoint(digits, tmp_path, monkeypatch):
    """The board is written before the checkpoint: a kill in between leaves a round too many."""
    with monkeypatch.context() as patch:
        patch.setattr("augmentor._internal.run.Run.save", stopping_at(4))
        with pytest.raises(KeyboardInterrupt):
            trainer(tmp_path).fit(digits)
    train = trainer(tmp_path)
    train.fit(digits)
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert [event.step for event in found.Scalars("d_loss")] == [2, 4, 6] == [row["step"] for row in train.history]


def stopping_at(step):
    from augmentor._internal.run import Run

    save = Run.save

    def stopping(self, state, row):
        if row["step"] == step:
            raise KeyboardInterrupt
        save(self, state, row)

    return stopping


def test_without_the_package_or_a_folder_there_is_none(digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trainer(None).fit(digits)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    trainer(tmp_path / "run").fit(digits)
    assert not (tmp_path / "run/tensorboard").exists()
    assert (tmp_path / "run/history.jsonl").exists()
