"""`tune` where there are images without labels: training on pseudo-labels is one of the ways it may recommend."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import pytest
import torch

from augmentor import pseudo_label, tune
from augmentor.exceptions import BudgetError, PseudoLabelError
from augmentor.training import PseudoLabelTraining, Recipe, small_cnn, train_classifier
from augmentor.tuning.autoencoders import Autoencoders, FromScratch
from augmentor.tuning.classification import ClassificationTask
from augmentor.tuning.datasets import few_of_each

DEFAULT = "RandAugment, affine"
OWN = f"{DEFAULT}, labels by own predictions"
LATENTS = f"{DEFAULT}, labels by latents and own predictions"
PLAIN = Recipe.of("v2.RandomAffine(10, (0.1, 0.1))")
RECIPES = {"mine": PLAIN, "labelled": replace(PLAIN, labels="latents and own predictions")}
SETTING = {"policy": "class_gaussian", "residual": 0.0, "ratio": 1.0, "balance": 0.0, "gate": False}


@pytest.fixture(scope="module")
def few(digits):
    return few_of_each(digits, 6, seed=0)


@pytest.fixture(scope="module")
def many(digits):
    return digits.subset(torch.arange(700, 1300))


def task_on(data, autoencoder="digits", **options) -> ClassificationTask:
    settings = {"score": "accuracy", "controls": None, "network": small_cnn, "steps": 60, "batch_size": 32, "folds": 2,
                "space": None, "seed": 0, "device": "cpu", **options}  # fmt: skip
    return ClassificationTask(data, Autoencoders(autoencoder, None, "cpu"), **settings)


def test_they_are_offered_where_there_are_images_without_labels_and_an_autoencoder_that_is_trained(few, many):
    offered = set(task_on(few, unlabelled=many).controls)
    assert offered - set(task_on(few).controls) == {OWN, LATENTS}
    scratch = FromScratch("vae(latent_dim=4)", None, 0, "cpu")  # it sees the labelled images of a fold alone
    assert set(task_on(few, scratch, unlabelled=many).controls) - set(task_on(few).controls) == {OWN}


@pytest.mark.slow
def test_settings_go_on_top_of_the_images_that_got_a_label(few, many, monkeypatch):
    task = task_on(few, unlabelled=many, controls=RECIPES, steps=100)
    assert task.evaluate({"control": "labelled"}, 0, math.inf).value > 0.6
    trained = []
    monkeypatch.setattr("augmentor.tuning.classification.train_classifier",
                        lambda network, data, **rest: trained.append(data) or small_cnn(1, 10))  # fmt: skip
    task.evaluate({**SETTING, "base": "labelled"}, 0, math.inf)
    (data,) = trained
    real = len(data) // 2
    assert real > len(few) // 2 + 0.5 * len(many)  # one synthetic sample for each of these


def test_an_encoder_that_cannot_tell_the_classes_is_refused(few, many):
    grey = Autoencoders("digits", None, "cpu")
    grey.get = lambda *_: lambda images: images.mean((2, 3))
    task = ClassificationTask(few, grey, score="accuracy", controls=[LATENTS], network=small_cnn, steps=2,
                              batch_size=8, folds=2, unlabelled=many, space=None, seed=0, device="cpu")  # fmt: skip
    with pytest.raises(PseudoLabelError):
        task.evaluate({"control": LATENTS}, 0, math.inf)


def test_a_deadline_stops_it(few, many):
    with pytest.raises(BudgetError):
        task_on(few, unlabelled=many).evaluate({"control": OWN}, 0, time.monotonic() - 1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:labels spread to the unlabelled images")  # three of each class say little
def test_tune_recommends_them_and_what_it_gives_to_paste_runs(few, many, monkeypatch):
    monkeypatch.setattr("augmentor.tuning.race.MOST_REPEATS", 1)
    model = train_classifier(small_cnn, many, num_classes=10, steps=60)  # in three steps no way would be better
    found = PseudoLabelTraining(model, pseudo_label(few, many, "digits"))
    monkeypatch.setattr("augmentor.tuning.classification.train_with_pseudo_labels", lambda *_, **__: found)
    space = {"policy": ["gaussian(std=0.5)"], "ratio": [1.0], "residual": [0.0], "gate": [False]}
    result = tune(few, "digits", unlabelled=many, controls=RECIPES, space=space, budget=1000, steps=3,
                  folds=2, batch_size=32, progress=False)  # fmt: skip
    assert (result.answer, result.config["best_control"]) == ("none", "labelled")
    names = {"network": small_cnn, "dataset": few, "unlabelled": many}
    code = result.code.replace("transform=transform", "transform=transform, steps=40, rounds=1")
    exec(code, names)
    assert "train_with_pseudo_labels(network, dataset, unlabelled, 'digits', transform=transform)" in result.code
    assert len(names["dataset"]) > len(few)
    assert names["dataset"][0][0].shape == (1, 8, 8)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:labels spread to the unlabelled images")
def test_where_they_are_refused_the_race_goes_on_without_them(few, many, monkeypatch):
    monkeypatch.setattr("augmentor.tuning.race.MOST_REPEATS", 1)

    def refused(*_, **__):
        raise PseudoLabelError("an estimated 20 % of the pseudo-labels would be right")

    monkeypatch.setattr("augmentor.training.pseudo_labels.pseudo_label", refused)
    space = {"policy": ["gaussian(std=0.5)"], "ratio": [1.0], "residual": [0.0], "gate": [False]}
    result = tune(few, "digits", unlabelled=many, controls=["affine", LATENTS], space=space, budget=1000, steps=3,
                  folds=2, batch_size=32, progress=False)  # fmt: skip
    assert result.config["best_control"] in ("affine", "none")
    (line,) = (line for line in result.table if line["shown"]["setting"] == LATENTS)
    assert "20 %" in line["fate"]
