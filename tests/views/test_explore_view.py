"""A view: what it shows is what the library makes, and what can be copied makes the same."""

from __future__ import annotations

import dataclasses
import json
import shlex
import shutil
import warnings

import numpy as np
import pytest
import torch

import augmentor.views.explore.view as module
from augmentor import LatentAugment, ShardDataset, load_autoencoder
from augmentor._internal.checks import to_uint8
from augmentor._internal.weights import save_network
from augmentor.cli import main
from augmentor.data import load_source
from augmentor.exceptions import InputError
from augmentor.views.explore import Explorer, Settings, recipe

CASES = {
    "drawn again": {"policy": "gaussian(std=1.0)", "redraw": True, "keep": 0.9},
    "reference samples": {"policy": "compose(gaussian(std=0.2), smote(k=3))", "seed": 5, "pick": "random"},
    "soft labels": {"policy": "interpolate(same_class=False)"},
    "fitted": {"policy": "class_gaussian(std=0.5)", "images": 1, "copies": 1},
}


def alike(images: torch.Tensor, others: torch.Tensor) -> bool:
    """Up to one level of 255: networks are not bitwise independent of the shape of a batch."""
    return int((to_uint8(images).int() - to_uint8(others).int()).abs().max()) <= 1


def runs(code: str) -> dict:
    names: dict = {}
    exec(compile(code, "copied", "exec"), names)
    return names


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_the_copied_code_makes_everything_that_is_shown(explorer, settings, changes):
    view = explorer.view(dataclasses.replace(settings, **changes))
    made = runs(recipe.code(view))
    assert alike(made["rebuilt"], view.rebuilt)
    assert torch.equal(made["images"], view.images)
    assert alike(made["samples"].reshape(view.samples.shape), view.samples)
    assert torch.allclose(made["sample_labels"].reshape(view.sample_labels.shape).double(), view.sample_labels.double())
    passed = [[verdict == module.PASSED for verdict in copy] for copy in view.verdicts]
    assert (made["weights"].reshape(len(view.samples), -1) == 1).tolist() == passed
    assert made["gate"].counts == view.counts
    assert made["near_rows"] == view.near_rows
    assert np.allclose(made["distances"][0], view.near_distances, atol=1e-5)
    assert alike(torch.stack(made["traversal"]), view.traversal)


def test_the_copied_code_of_large_data_looks_at_the_same_part(settings, monkeypatch):
    monkeypatch.setattr(module, "LOOKED", 60)
    view = Explorer().view(dataclasses.replace(settings, policy="smote(k=3)"))
    assert (view.selected, view.total) == (60, 120)
    made = runs(recipe.code(view))
    assert len(made["augment"].reference) == 60
    assert alike(made["samples"].reshape(view.samples.shape), view.samples)
    assert made["near_rows"] == view.near_rows


def test_the_copied_command_makes_the_same_samples(explorer, settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    view = explorer.view(dataclasses.replace(settings, policy="smote(k=3)", redraw=True, copies=1, seed=7))
    main(shlex.split(recipe.command(view).removeprefix("augmentor ")))
    images, labels = ShardDataset("runs/shards")[view.rows]
    assert alike(images, view.samples[0])
    assert torch.equal(labels, view.sample_labels[0])
    read = dataclasses.replace(view.settings, data="my files", split="test", size=32)
    other = dataclasses.replace(view, settings=read)
    assert recipe.command(other).startswith("augmentor generate 'my files' --split test --size 32 ")


def test_the_copied_policy_json_makes_the_same_samples(explorer, settings, few):
    for redraw in (False, True):
        view = explorer.view(dataclasses.replace(settings, policy="gaussian(std=0.8)", redraw=redraw, keep=0.9))
        augment = LatentAugment.from_config(json.loads(recipe.policy_json(view))).fit(load_source(few))
        assert (augment.gate is not None) is redraw
        made, _ = augment.synthesize(view.images, view.labels, indices=view.rows, draw_index=1, seed=0)
        assert alike(made, view.samples[1])


def test_an_autoencoder_of_ones_own_without_statistics(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = load_autoencoder("digits")
    model.stats.fitted.fill_(False)
    save_network(model, "own.safetensors")
    view = Explorer().view(dataclasses.replace(settings, autoencoder="own.safetensors"))
    assert alike(runs(recipe.code(view))["samples"].reshape(view.samples.shape), view.samples)
    monkeypatch.chdir(tmp_path.parent)  # policy.json may be put anywhere, and takes the statistics along
    augment = LatentAugment.from_config(json.loads(recipe.policy_json(view)))
    assert alike(augment.synthesize(view.images, indices=view.rows, seed=0), view.samples[0])


def test_neighbours_are_the_nearest_and_the_traversal_goes_through_the_reconstruction(explorer, settings, few):
    view = explorer.view(settings)
    data, model = load_source(few), load_autoencoder("digits")
    with torch.no_grad():
        real = model.stats.standardise(model.encode(data.images).mean)
        mine = model.stats.standardise(model.encode(view.samples[2, 1][None]).mean)
    distance = (real - mine).square().mean(1).sqrt()
    for nearest in (distance.sort().values[: len(view.near_rows)], distance[view.near_rows]):
        assert torch.allclose(nearest, torch.tensor(view.near_distances), atol=1e-4)
    for steps in view.traversal:
        assert alike(steps[module.STEPS // 2], view.rebuilt[1])
        assert not alike(steps[0], steps[-1])


def test_a_verdict_names_the_questions_that_were_failed(explorer, settings):
    view = explorer.view(dataclasses.replace(settings, policy="gaussian(std=3.0)", keep=0.5))
    said = [verdict for copy in view.verdicts for verdict in copy]
    assert set(said) - {module.PASSED}
    for copy, verdicts in enumerate(view.verdicts):
        for place, verdict in enumerate(verdicts):
            low = [name for name, score in view.scores.items() if score[copy, place] < view.limit]
            assert verdict == (", ".join(low) or module.PASSED)
    again = explorer.view(dataclasses.replace(settings, policy="gaussian(std=30.0)", keep=0.5, redraw=True))
    assert {verdict for copy in again.verdicts for verdict in copy} == {module.ORIGINAL_KEPT}
    assert all(torch.equal(samples, again.images) for samples in again.samples)


def test_a_slider_makes_nothing_slow_anew(settings, few, tmp_path, monkeypatch):
    loads, explorer = [], Explorer()
    other = shutil.copy(few, tmp_path / "other.npz")
    for name in ("load_source", "load_autoencoder"):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, real=real, **k: loads.append(real) or real(*a, **k))
    first = explorer.view(settings)
    second = explorer.view(dataclasses.replace(settings, policy="gaussian(std=0.6)"))
    assert len(loads) == 2
    assert not torch.equal(first.samples, second.samples)
    explorer.view(dataclasses.replace(settings, data=str(other)))
    assert len(loads) == 4


def test_settings_go_to_json_and_back_and_others_are_refused():
    chosen = Settings(policy="smote", keep=1, size=32)
    assert Settings.read(json.loads(json.dumps(chosen.document()))) == chosen
    for document in ({"images": 2.5}, {"keep": float("nan")}, {"pick": "best"}, {"datum": "digits"}, ["digits"]):
        with pytest.raises(InputError):
            Settings.read(document)
