"""`tune` where there are images without labels: training on pseudo-labels is one of the ways it may recommend."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import pytest
import torch

from augmentor import pseudo_label, tune
from augmentor._internal.random import fold
from augmentor.autoencoders import CallableAutoencoder
from augmentor.exceptions import BudgetError, InputError
from augmentor.training import (
    PseudoLabelTraining,
    Recipe,
    small_cnn,
    train_classifier,
    train_with_pseudo_labels,
)
from augmentor.training.classifier import predict
from augmentor.tuning.autoencoders import Autoencoders, FromScratch
from augmentor.tuning.classification import ClassificationTask
from augmentor.tuning.datasets import few_of_each

DEFAULT = "RandAugment, affine"
OWN = f"{DEFAULT}, labels by own predictions"
LATENTS = f"{DEFAULT}, labels by latents and own predictions"
PLAIN = Recipe.of("v2.RandomAffine(10, (0.1, 0.1))")
RECIPES = {"mine": PLAIN, "labelled": replace(PLAIN, labels="latents and own predictions")}


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


def test_they_are_not_offered_where_most_of_the_labels_would_be_wrong(few, many):
    constant = CallableAutoencoder(
        lambda images: images.mean((2, 3)).expand(-1, 4), lambda z: z[:, :1, None, None].expand(-1, 1, 8, 8), (1, 8, 8),
        version="mean",
    )  # fmt: skip
    constant.stats.fit([torch.randn(20, 4)])
    assert set(task_on(few, constant, unlabelled=many).controls) - set(task_on(few).controls) == {OWN}
    assert LATENTS in task_on(few, constant, unlabelled=many, controls=[LATENTS]).controls  # asked for, so it is taken


def test_unequal_classes_keep_their_controls_beside_them(digits, many):
    rows = torch.cat([torch.where(digits.targets == label)[0][: 4 + label] for label in range(10)])
    names = task_on(digits.subset(rows), score="macro_recall", unlabelled=many).controls
    assert names[0] == f"{DEFAULT}, oversampling"
    assert {LATENTS, OWN} < set(names)


@pytest.mark.slow
def test_a_cell_is_trained_as_by_hand_and_gives_the_same_score_each_time(few, many):
    task = task_on(few, unlabelled=many, controls=RECIPES, steps=60)
    first, again = (task.evaluate({"control": "labelled"}, 1, math.inf) for _ in range(2))
    train, test = task._parts(1)
    model, _ = train_with_pseudo_labels(
        small_cnn, train, many, "digits", transform=PLAIN.image, min_accuracy=0, steps=60, batch_size=32,
        seed=fold(0, "cell", 1),
    )  # fmt: skip
    assert first == again
    assert first.right == (predict(model, test) == test.targets).tolist()


def test_settings_go_on_top_of_the_best_control_without_them(few, many):
    task = task_on(few, unlabelled=many, controls=RECIPES)
    assert task.space["base"] == ("mine", "none")
    assert [task.takes_settings(name) for name in task.controls] == [True, False, True]
    with pytest.raises(InputError, match=r"space\['base'\] contains 'labelled'"):
        task_on(few, unlabelled=many, controls=RECIPES, space={"base": ["labelled"]})


def test_without_unlabelled_images_they_are_refused(few):
    with pytest.raises(InputError, match="control 'labelled' needs unlabelled images, and there are none"):
        task_on(few, controls=RECIPES)
    with pytest.raises(InputError, match=r"labels must be one of 'given', .*, got 'guessed'"):
        Recipe(labels="guessed")


def test_a_deadline_stops_it(few, many):
    with pytest.raises(BudgetError):
        task_on(few, unlabelled=many).evaluate({"control": OWN}, 0, time.monotonic() - 1)


def test_an_estimate_knows_that_they_take_longer(few, many):
    labelled, plain = (
        task_on(few, unlabelled=many, controls=[DEFAULT, *more]).estimate().control for more in ([LATENTS, OWN], [])
    )
    assert labelled > 1.2 * plain


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the accuracy of pseudo-labels")  # three of each class say little
def test_tune_recommends_them_and_what_it_gives_to_paste_runs(few, many, monkeypatch, tmp_path):
    monkeypatch.setattr("augmentor.tuning.race.MOST_REPEATS", 1)
    model = train_classifier(small_cnn, many, num_classes=10, steps=60)  # in three steps no way would be better
    found = PseudoLabelTraining(model, pseudo_label(few, many, "digits"))
    monkeypatch.setattr("augmentor.tuning.classification.train_with_pseudo_labels", lambda *_, **__: found)
    space = {"policy": ["gaussian(std=0.5)"], "ratio": [1.0], "residual": [0.0], "gate": [False]}
    options = {"unlabelled": many, "controls": RECIPES, "space": space, "budget": 1000, "steps": 3, "folds": 2,
               "batch_size": 32, "progress": False, "out": tmp_path}  # fmt: skip
    result = tune(few, "digits", **options)
    assert (result.answer, result.config["best_control"]) == ("none", "labelled")
    assert result.config["base"] in ("mine", "none")
    assert tune(few, "digits", **options).config == result.config  # from the journal
    names = {"dataset": few, "unlabelled": many}
    exec(result.code, names)
    assert predict(names["model"], few).shape == (len(few),)
    assert len(names["dataset"]) >= len(few)
