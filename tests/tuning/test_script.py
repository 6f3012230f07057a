"""What `tune` gives to paste runs, and makes the data set that was raced."""

from __future__ import annotations

import json

import pytest
import torch

from augmentor.data import ArrayDataset
from augmentor.training import usual_recipes
from augmentor.training.recipes import rebalanced
from augmentor.tuning.datasets import few_of_each
from augmentor.tuning.script import script

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
