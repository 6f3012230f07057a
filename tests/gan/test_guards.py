"""Collapse, saturation and divergence are noticed once they last, said once, and end the run if asked."""

from __future__ import annotations

import warnings

import pytest
import torch
from tiny import flat, trainer_of

from augmentor.cli.train_gan import train_gan
from augmentor.data import ArrayDataset
from augmentor.exceptions import AugmentorWarning, TrainingError
from augmentor.gan import GAN, load_generator
from augmentor.gan.evaluation import Evaluator
from augmentor.gan.guards import GUARDS, troubles

FINE = {"spread": 0.8, "recall": 0.4, "precision": 0.7, "real_sign": 0.5, "fake_sign": -0.5}
COLLAPSED = FINE | {"spread": 0.02}
UNCOVERED = FINE | {"recall": 0.0, "precision": 0.9}
SATURATED = FINE | {"real_sign": 0.99, "fake_sign": -0.99}


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([FINE] * 6, []),
        ([FINE, COLLAPSED, COLLAPSED], ["collapse"]),
        ([COLLAPSED, COLLAPSED, FINE], []),
        ([FINE, UNCOVERED, COLLAPSED], ["collapse"]),
        ([FINE, SATURATED, SATURATED], ["saturation"]),
        ([FINE, SATURATED, FINE, SATURATED], []),
        ([{**COLLAPSED, "real_sign": 1.0, "fake_sign": -1.0}] * 3, ["collapse", "saturation"]),
        ([FINE | {"fid": fid} for fid in (80.0, 20.0, 31.0, 35.0)], ["divergence"]),
        ([FINE | {"fid": fid} for fid in (80.0, 20.0, 31.0, 29.0)], []),
        ([FINE | {"fid": fid} for fid in (20.0, 29.0, 29.0, 29.0)], []),
        ([{}] * 5, []),  # a training method that logs none of it
        ([{"recall": 0.0, "precision": 0.1}] * 5, []),  # young samples that look like nothing
    ],
)
def test_what_lasts_for_a_thousand_steps_counts(rows, found):
    assert troubles([{"step": 500 * (n + 1), **row} for n, row in enumerate(rows)]) == found
    assert troubles([{"step": n + 1, **row} for n, row in enumerate(rows)]) == []


def test_the_command_ends_a_run_on_any_of_them():
    (option,) = (option for option in train_gan.params if option.name == "stop_on")
    assert list(option.type.choices) == list(GUARDS)


class Draws(torch.nn.Module):
    """A generator that makes of each label what the function makes of all."""

    image_shape, latent_dim = (1, 8, 8), 4

    def __init__(self, num_classes: int, draw):
        super().__init__()
        self.num_classes, self.draw = num_classes, draw

    def forward(self, noise, labels):
        return self.draw(labels)


def test_one_image_a_class_has_no_spread_and_many_classes_are_no_collapse(digits):
    def spread(data, draw):
        classes = len(data.targets.unique())
        return Evaluator(data, None, 0, torch.device("cpu"), num_classes=classes).row(Draws(classes, draw))["spread"]

    assert spread(digits, lambda labels: labels.reshape(-1, 1, 1, 1).float().expand(-1, 1, 8, 8) / 10) < 1e-9
    # With a class for each image there is no spread within classes to speak of.
    many = ArrayDataset(digits.images[:200], torch.arange(200))
    assert spread(many, lambda labels: many.images[labels].float() / 255) == pytest.approx(1, abs=1e-5)


class Stuck(GAN):
    """A plain GAN whose generator makes nearly the same image again and again."""

    def step(self, number):
        logs = super().step(number)
        with torch.no_grad():
            self.generator.to_image.weight.mul_(1e-3)
        return logs


@pytest.fixture
def soon(monkeypatch):
    """What lasts for 4 steps counts."""
    monkeypatch.setattr("augmentor.gan.guards._LASTS", 4)


def stuck(**settings):
    return trainer_of(Stuck("dcgan(width=8, latent_dim=4)", image_shape=(1, 8, 8)), steps=8, **settings)


def test_collapse_is_said_once_and_stands_in_the_history(few, soon):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        train = stuck(stop_on=["saturation"])  # which does not happen
        train.fit(few)
    (text,) = [str(warning.message) for warning in said if warning.category is AugmentorWarning]
    assert text.startswith("collapse at step 4: the generator makes nearly identical images")
    assert [row.get("alerts") for row in train.history] == [None, ["collapse"], ["collapse"], ["collapse"]]
    assert all(row["spread"] < 0.1 for row in train.history)


def test_collapse_stops_the_run_if_asked_and_the_best_snapshot_stays(few, soon, tmp_path):
    def run():
        with pytest.raises(TrainingError, match=r"stopped after step 4 because of collapse: .* best snapshot"):
            stuck(out=tmp_path, stop_on=["collapse"], features=flat, best_by="kid").fit(few)

    with pytest.warns(AugmentorWarning, match="collapse at step 4"):
        run()
    assert load_generator(tmp_path / "generator.safetensors").latent_dim == 4
    lines = (tmp_path / "history.jsonl").read_text()
    run()  # asked again it does not go on, and says it as an error only
    assert (tmp_path / "history.jsonl").read_text() == lines
