"""What `tune` gives to paste runs, and makes the data set that was raced."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torchvision.transforms import v2

from augmentor.data import ArrayDataset
from augmentor.training import Recipe, usual_recipes
from augmentor.training.recipes import chosen_recipes, rebalanced
from augmentor.tuning import TuneResult
from augmentor.tuning.datasets import few_of_each
from augmentor.tuning.script import script, script_with_pseudo_labels

UNEQUAL = rebalanced(usual_recipes((1, 8, 8), 10), "macro_recall")
POLICY = {"autoencoder": "digits", "policy": "smote(k=2)", "p": 0.5, "mixing": {"ratio": 1.0, "balance": 1.0}}


@pytest.fixture(scope="module")
def unequal(digits) -> ArrayDataset:
    few = few_of_each(digits, 4, seed=0)
    return few.subset(torch.cat([torch.arange(len(few)), torch.nonzero(few.targets == 3).squeeze(1)]))


def pasted(text, dataset):
    names = {"dataset": dataset}
    exec(text, names)
    return names


@pytest.mark.parametrize("name", UNEQUAL)
def test_what_is_pasted_for_a_control_runs(name, unequal):
    recipe = UNEQUAL[name]
    made = pasted(script(recipe), unequal)
    data = made["dataset"]
    assert len(data) == (10 * 8 if recipe.balance == "oversampling" else len(unequal))
    assert any(not torch.equal(data[i][0], data[i][0]) for i in range(12)) == (recipe.image is not None)
    assert ("batch_transform" in made) == (recipe.batch is not None)
    assert ("prior.log()" in script(recipe)) == (recipe.balance == "logit adjustment")


def test_what_is_pasted_for_latents_adds_them_before_the_recipe(unequal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.json").write_text(json.dumps(POLICY))
    data = pasted(script(UNEQUAL["affine, oversampling"], "policy.json"), unequal)["dataset"]
    assert len(data) == 2 * 10 * 8  # classes filled up once, by the policy, and as many synthetic samples
    assert data.dataset.augment.policy.name == "smote"
    assert not torch.equal(data[159][0], data[159][0])


def test_what_a_result_gives_to_paste_runs_in_any_folder(unequal, tmp_path):
    (tmp_path / "policy.json").write_text(json.dumps(POLICY))
    code = script(UNEQUAL["affine, oversampling"], "policy.json")
    result = TuneResult("latent", {"code": code}, [], "", {"policy.json": tmp_path / "policy.json"})
    assert pasted(result.code, unequal)["dataset"].dataset.augment.policy.name == "smote"
    assert TuneResult("latent", {"code": code}, [], "").code == code


@pytest.mark.parametrize("made", [Recipe(v2.RandomHorizontalFlip(0.5)), v2.RandomHorizontalFlip(0.5)])
def test_what_is_pasted_for_a_control_of_one_s_own_takes_it_from_the_controls(made, unequal):
    controls = {"mine": made}
    names = {"dataset": unequal, "controls": controls}
    exec(script(chosen_recipes(controls, {})["mine"]), names)
    assert any(not torch.equal(names["dataset"][0][0], unequal[0][0]) for _ in range(20))


def test_what_is_pasted_for_latents_gives_the_reference_set_the_unlabelled_images(
    unequal, digits, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.json").write_text(json.dumps(POLICY))
    names = {"dataset": unequal, "unlabelled": digits.subset(torch.arange(1000, 1300))}
    exec(script(UNEQUAL["affine, oversampling"], "policy.json", unlabelled=True), names)
    assert len(names["augment"].reference) > len(unequal) + 200


@pytest.mark.slow
@pytest.mark.parametrize("labels", ["latents and own predictions", "own predictions"])
@pytest.mark.parametrize("batch", ["", "v2.MixUp(num_classes=10)"])
def test_what_is_pasted_for_pseudo_labels_trains(labels, batch, digits):
    recipe = replace(Recipe.of("v2.RandomAffine(10)", batch=batch), labels=labels)
    text = script_with_pseudo_labels(recipe, "'digits'", 3, 16)
    names = {"dataset": few_of_each(digits, 5, seed=0), "unlabelled": digits.subset(torch.arange(1000, 1300))}
    exec(text, names)
    assert names["model"](torch.rand(2, 1, 8, 8)).shape == (2, 10)
    assert ("'digits'" in text) == ("latents" in labels)
    assert ("mix=" in text) == bool(batch)
