"""Collapse and saturation are noticed once they last, said once, and end the run if asked."""

from __future__ import annotations

import math
import warnings

import pytest
import torch

from augmentor._internal.weights import load_network
from augmentor.data import ArrayDataset
from augmentor.exceptions import AugmentorWarning, TrainingError
from augmentor.gan import GAN, generators
from augmentor.gan.evaluation import Evaluator, spread
from augmentor.gan.guards import troubles
from augmentor.training import GANTrainer

FINE = {"spread": 0.8, "recall": 0.4, "precision": 0.7, "real_sign": 0.5, "fake_sign": -0.5}
COLLAPSED = FINE | {"spread": 0.02}
UNCOVERED = FINE | {"recall": 0.0, "precision": 0.9}
SATURATED = FINE | {"real_sign": 0.99, "fake_sign": -0.99}


def history(*rows, every=500):
    return [{"step": every * (n + 1), **row} for n, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([], []),
        ([FINE] * 6, []),
        ([FINE, COLLAPSED], []),
        ([FINE, COLLAPSED, COLLAPSED], ["collapse"]),
        ([COLLAPSED, COLLAPSED], ["collapse"]),
        ([COLLAPSED, COLLAPSED, FINE], []),
        ([FINE, UNCOVERED, COLLAPSED], ["collapse"]),
        ([FINE, SATURATED, SATURATED], ["saturation"]),
        ([FINE, SATURATED, FINE, SATURATED], []),
        ([{**COLLAPSED, "real_sign": 1.0, "fake_sign": -1.0}] * 3, ["collapse", "saturation"]),
        ([{}] * 5, []),  # a training method that logs none of it
        ([{"recall": 0.0, "precision": 0.1}] * 5, []),  # young samples that look like nothing
    ],
)
def test_what_lasts_for_a_thousand_steps_counts(rows, found):
    assert troubles(history(*rows)) == found
    assert troubles(history(*rows, every=1)) == []


def test_the_spread_is_that_within_classes():
    labels = torch.arange(6) % 2
    images = labels.float().reshape(6, 1, 1, 1).expand(6, 1, 2, 2)
    assert spread(images, labels) == 0
    assert spread(images) == pytest.approx(images[:, 0, 0, 0].var().item())
    noisy = images + torch.randn(6, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    within = torch.stack([noisy[labels == n].var(0).mean() for n in (0, 1)]).mean()
    assert spread(noisy, labels) == pytest.approx(within.item(), rel=1e-5)
    assert spread(images[:1]) == 0


def test_many_classes_are_no_collapse(digits):
    """With a class for each image there is no spread within classes to speak of."""
    many = ArrayDataset(digits.images[:200], torch.arange(200))
    evaluator = Evaluator(many, None, 0, torch.device("cpu"), num_classes=200)

    class Real(torch.nn.Module):
        image_shape, latent_dim, num_classes = (1, 8, 8), 4, 200

        def forward(self, noise, labels):
            return many.images[labels].float() / 255

    assert evaluator.row(Real())["spread"] == pytest.approx(1, abs=1e-5)


def test_a_generator_that_makes_one_image_a_class_has_no_spread(digits):
    evaluator = Evaluator(digits, None, 0, torch.device("cpu"), num_classes=10)

    class Constant(torch.nn.Module):
        image_shape, latent_dim, num_classes = (1, 8, 8), 4, 10

        def forward(self, noise, labels):
            return labels.reshape(-1, 1, 1, 1).float().expand(-1, 1, 8, 8) / 10

    class Real(Constant):
        def forward(self, noise, labels):
            rows = torch.stack(
                [(digits.targets == label).nonzero().flatten()[n // 10] for n, label in enumerate(labels)]
            )
            return digits.images[rows].float() / 255

    assert evaluator.row(Constant())["spread"] < 1e-9
    assert 0.5 < evaluator.row(Real())["spread"] < 2


class Stuck(GAN):
    """A plain GAN whose generator makes nearly the same image again and again from some step on."""

    def __init__(self, at: int):
        super().__init__("dcgan(width=8, latent_dim=4)", image_shape=(1, 8, 8))
        self.at = at

    def step(self, number):
        logs = super().step(number)
        if number >= self.at:
            with torch.no_grad():
                self.generator.to_image.weight.mul_(1e-3)
        return logs


@pytest.fixture
def soon(monkeypatch):
    """What lasts for 4 steps counts."""
    monkeypatch.setattr("augmentor.gan.guards._LASTS", 4)


def trainer(method=None, **settings) -> GANTrainer:
    return GANTrainer(
        method or Stuck(0), **{"steps": 8, "round_steps": 2, "batch_size": 8, "progress": False, **settings}
    )


def test_collapse_is_said_once_and_stands_in_the_history(digits, soon):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        train = trainer()
        train.fit(digits)
    texts = [str(warning.message) for warning in said if warning.category is AugmentorWarning]
    assert len(texts) == 1
    assert texts[0].startswith("collapse at step 4: the generator makes nearly the same image")
    assert [row.get("alerts") for row in train.history] == [None, ["collapse"], ["collapse"], ["collapse"]]
    assert all(row["spread"] < 0.1 for row in train.history)


def flat(images: torch.Tensor) -> torch.Tensor:
    return images.float().flatten(1)


def test_collapse_stops_the_run_if_asked_and_the_best_snapshot_stays(digits, soon, tmp_path):
    def run():
        with pytest.raises(TrainingError, match=r"stopped after step 4 because of collapse: .* best snapshot"):
            trainer(out=tmp_path, stop_on=["collapse"], features=flat, best_by="kid").fit(digits)

    with pytest.warns(AugmentorWarning, match="collapse at step 4"):
        run()
    assert isinstance(load_network(tmp_path / "best.safetensors", generators), torch.nn.Module)
    lines = (tmp_path / "history.jsonl").read_text()
    assert not (tmp_path / "generator.safetensors").exists()
    run()  # asked again it does not go on, and says it as an error only
    assert (tmp_path / "history.jsonl").read_text() == lines


def test_the_other_trouble_does_not_stop_it(digits, soon):
    with pytest.warns(AugmentorWarning, match="collapse"):
        trainer(stop_on=["saturation"]).fit(digits)


@pytest.mark.parametrize(("by", "best"), [("fid", 2), ("kid", 4)])
def test_the_best_snapshot_is_by_the_metric_that_was_chosen(digits, by, best, tmp_path, monkeypatch):
    scores = iter([{"fid": 1.0, "kid": 3.0}, {"fid": 2.0, "kid": 2.0}])
    monkeypatch.setattr("augmentor.quality.compare", lambda *args, **kwargs: next(scores))
    method = GAN("dcgan(width=8, latent_dim=4)", image_shape=(1, 8, 8))
    trainer(method, steps=4, features=flat, best_by=by, out=tmp_path).fit(digits)
    from augmentor._internal.weights import read_header

    assert read_header(tmp_path / "best.safetensors")["info"]["step"] == best


def test_signs_are_logged_only_where_they_mean_something(digits):
    for loss, signs in (("hinge", True), ("wgan_gp", False)):
        train = trainer(GAN("dcgan(width=8)", image_shape=(1, 8, 8), loss=loss), steps=2)
        train.fit(digits)
        assert ({"real_sign", "fake_sign"} <= train.history[0].keys()) == signs
        assert math.isfinite(train.history[0]["g_loss"])
