"""`tune` on real data, tiny: folds, autoencoders, controls, the GAN task, killing it, and what it refuses."""

from __future__ import annotations

import functools
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from augmentor import LatentAugment, MixedDataset, load_autoencoder, tune
from augmentor._internal.random import seeded
from augmentor.autoencoders import CallableAutoencoder, ConvVAE, get_autoencoder
from augmentor.data import ArrayDataset, load_source
from augmentor.exceptions import (
    AugmentorWarning,
    BudgetError,
    DataError,
    InputError,
    OutputError,
    ShapeError,
    UnknownNameError,
)
from augmentor.training import mild_geometry, small_cnn
from augmentor.tuning import Transformed
from augmentor.tuning.autoencoders import Autoencoders, FromScratch
from augmentor.tuning.classification import POLICIES, ClassificationTask
from augmentor.tuning.datasets import Part, Until, few_of_each
from augmentor.tuning.generation import GenerationTask

ROOT = Path(__file__).resolve().parents[2]
ONE = {"policy": ["gaussian(std=0.5)"], "residual": [0.0], "ratio": [1.0], "gate": [False], "base": ["none"]}
QUICK = {"budget": 1000, "steps": 3, "batch_size": 16, "folds": 2, "progress": False}


@pytest.fixture(scope="module")
def few(digits) -> ArrayDataset:
    return few_of_each(digits, 4, seed=0)


@pytest.fixture(scope="module")
def uneven(digits) -> ArrayDataset:
    rows = [torch.nonzero(digits.targets == label).squeeze(1)[: 4 + 4 * (label % 2)] for label in range(10)]
    return digits.subset(torch.cat(rows))


def task_on(data, autoencoder="digits", **options) -> ClassificationTask:
    settings = {"score": "accuracy", "geometry": mild_geometry(), "network": small_cnn, "steps": 3, "batch_size": 16,
                "folds": 2, "space": None, "seed": 0, "device": "cpu", **options}  # fmt: skip
    return ClassificationTask(data, Autoencoders(autoencoder, None, "cpu"), **settings)


class Untrained:
    """Notes what it was trained on."""

    def __init__(self):
        self.saw = []

    def __call__(self, dataset):
        self.saw.append(set(map(bytes, torch.stack([dataset[i][0] for i in range(len(dataset))]).numpy())))
        with seeded(len(dataset)):
            model = ConvVAE((1, 8, 8), latent_dim=4, width=8)
        model.stats.fit([torch.randn(20, 4, generator=torch.Generator().manual_seed(0))])
        return model


# Folds, controls and settings


def test_every_repeat_splits_anew_and_every_fold_holds_all_classes(few):
    task = task_on(few)
    tests = [task._parts(cell)[1] for cell in range(4)]
    for train, test in map(task._parts, range(4)):
        assert len(train) + len(test) == len(few)
        assert set(test.targets.tolist()) == set(range(10))
    rows = [frozenset(map(bytes, test.images.numpy())) for test in tests]
    assert rows[0] | rows[1] == rows[2] | rows[3] == set(map(bytes, few.images.numpy()))
    assert not rows[0] & rows[1]
    assert rows[0] not in (rows[2], rows[3])


@pytest.mark.parametrize("score", ["accuracy", "macro_recall"])
def test_outcomes_of_images_add_up_to_the_score_over_a_repeat(uneven, score):
    task = task_on(uneven, score=score, steps=20)
    found = [task.evaluate({"control": "none"}, cell, time.monotonic() + 1000) for cell in (2, 3)]
    rows = torch.tensor([*task.samples(2), *task.samples(3)])
    assert sorted(rows.tolist()) == list(range(len(uneven)))
    weights = torch.tensor(task.weights or [1.0] * len(uneven))[rows]
    right = torch.tensor([*found[0].right, *found[1].right]).float()
    mean = float((weights * right).sum() / weights.sum())
    assert mean == pytest.approx((found[0].value + found[1].value) / 2, abs=1e-6)
    assert 0 < mean < 1
    assert (score == "accuracy") == (task.weights is None)
    for cell, each in zip((2, 3), found, strict=True):
        test = task._parts(cell)[1]
        assert torch.equal(test.targets, uneven.targets[task.samples(cell)])
        assert len(each.right) == len(test)


def test_a_score_is_the_same_at_every_call_and_differs_between_settings(few, global_rng_untouched):
    task = task_on(few, steps=10)
    later = time.monotonic() + 1000
    settings = [{"control": name} for name in task.controls] + [
        {"policy": "gaussian(std=0.5)", "residual": float(gate), "ratio": 1.0, "balance": 0.0, "gate": gate,
         "base": base}
        for gate in (False, True) for base in ("none", "geometric")
    ]  # fmt: skip
    scores = [[task.evaluate(setting, 1, later) for setting in settings] for _ in range(2)]
    assert scores[0] == scores[1]
    assert len({score.value for score in scores[0]}) > 1
    for score in scores[0]:
        assert score.value == pytest.approx(sum(score.right) / len(score.right))


def test_a_balanced_setting_fills_small_classes_up(uneven):
    task = task_on(uneven)
    assert task.space["balance"] == (0.0, 0.5, 1.0)
    setting = {
        "policy": "smote(k=5)",
        "residual": 0.0,
        "ratio": 0.5,
        "balance": 1.0,
        "gate": False,
        "base": "geometric",
    }
    train, _ = task._parts(0)
    mixed, _ = task._training_set(setting, train, 0)
    assert isinstance(mixed, MixedDataset)
    labels = torch.tensor([train.targets[source] for source in mixed.sources])
    assert (train.targets.bincount() + labels.bincount()).unique().tolist() == [6]


def test_unequal_classes_are_filled_up_with_real_images_as_a_control_too(uneven, few):
    assert task_on(uneven).controls == ("none", "geometric", "mixup", "oversampling", "geometric oversampling")
    assert task_on(few).controls == ("none", "geometric", "mixup")
    task = task_on(uneven)
    train, _ = task._parts(0)
    for control in ("oversampling", "geometric oversampling"):
        data, _ = task._training_set({"control": control}, train, 0)
        assert len(data.targets.bincount().unique()) == 1
        assert all(any(torch.equal(image, other) for other, _ in train) for image, _ in data) == (
            control == "oversampling"
        )


def test_balance_posterior_and_geometry_are_searched_only_where_they_mean_something(few):
    plain = get_autoencoder("dense")((1, 8, 8), latent_dim=4)
    plain.stats.fit([torch.randn(20, 4)])
    task = task_on(few, plain, geometry=None)
    assert task.space["balance"] == (0.0,)
    assert task.space["base"] == ("none",)
    assert not any("posterior" in text for text in task.space["policy"])
    assert task.controls == ("none", "mixup")
    assert any("posterior" in text for text in task_on(few).space["policy"])


def test_photographs_keep_their_detail_in_what_is_tried_first(few):
    colour = ArrayDataset(few.images.repeat(1, 3, 1, 1), few.targets, few.classes)
    photographs = task_on(colour, get_autoencoder("dense")((3, 8, 8), latent_dim=4))
    scores = {"none": 0.5, "geometric": 0.6, "mixup": 0.7}
    assert {setting["residual"] for setting in photographs.first(scores)} == {1.0}
    assert {setting["residual"] for setting in task_on(few).first(scores)} == {0.0}
    assert photographs.space["residual"] == task_on(few).space["residual"] == (0.0, 1.0)


@pytest.mark.parametrize(
    ("scores", "base"),
    [
        ({"none": 0.5, "geometric": 0.6}, "geometric"),
        ({"none": 0.5, "geometric": 0.4}, "none"),
        ({"none": 0.5, "geometric": 0.5}, "geometric"),
        ({"none": 0.5, "geometric": 0.4, "oversampling": 0.6, "geometric oversampling": 0.8}, "geometric"),
        ({"none": 0.5, "geometric": 0.4, "oversampling": 0.6, "geometric oversampling": 0.6}, "none"),
    ],
)
def test_what_is_tried_first_is_on_the_base_that_did_more_for_the_controls(few, uneven, scores, base):
    task = task_on(uneven if "oversampling" in scores else few)
    tried = task.first({"mixup": 0.9, **scores})
    assert {setting["base"] for setting in tried} == {base}
    assert all(setting[name] in values for setting in tried for name, values in task.space.items())
    only = task_on(few, space={"base": ["none"]})
    assert {setting["base"] for setting in only.first({"mixup": 0.9, **scores})} == {"none"}


def test_what_is_put_back_of_the_images_is_part_of_a_setting(few):
    task = task_on(few)
    setting = {"policy": "gaussian(std=0.5)", "ratio": 1.0, "balance": 0.0, "gate": False, "base": "none"}
    train, _ = task._parts(0)
    plain, sharp = (task._training_set({**setting, "residual": share}, train, 0)[0] for share in (0.0, 1.0))
    assert (plain.augment.residual, sharp.augment.residual) == (0.0, 1.0)
    words = [task.describe({**setting, "residual": share}) for share in (0.0, 1.0)]
    assert words == ["gaussian(std=0.5), ratio 1", "gaussian(std=0.5), residual 1, ratio 1"]


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_of_the_space_can_be_scored(uneven, policy):
    setting = {"policy": policy, "residual": 0.5, "ratio": 2.0, "balance": 0.5, "gate": True, "base": "geometric"}
    assert 0 <= task_on(uneven).evaluate(setting, 0, time.monotonic() + 1000).value <= 1


# Images without labels


def test_images_without_labels_widen_the_pool_and_belong_to_the_run(few, digits, tmp_path):
    space, rest = {**ONE, "policy": ["class_gaussian"]}, digits.subset(torch.arange(1000, 1300))
    result = tune(few, "digits", unlabelled=rest, space=space, out=tmp_path, **QUICK)
    assert result.config["unlabelled"] == 300
    assert (tmp_path / "trials.jsonl").read_text().count('"prepare"') >= 10  # spreading labels is timed apart
    with pytest.raises(OutputError, match="unlabelled"):
        tune(few, "digits", space=space, out=tmp_path, **QUICK)
    again = tune(few, "digits", unlabelled=rest, space=space, out=tmp_path, **QUICK)
    assert again.config == result.config

    setting = {"policy": "class_gaussian", "residual": 0.0, "ratio": 1.0, "balance": 0.0, "gate": False, "base": "none"}
    plain, wide = task_on(few), task_on(few, unlabelled=rest)
    train, _ = wide._parts(0)
    assert len(wide._reference(0, train)[1]) == len(train) + 240
    assert len(plain._reference(0, train)[1]) == len(train)
    made = [task._training_set(setting, train, 0)[0] for task in (plain, wide)]
    assert not torch.equal(made[0][len(train)][0], made[1][len(train)][0])


def test_a_deadline_stops_the_fitting_and_what_does_not_fit_is_refused(few, digits):
    with pytest.raises(BudgetError):
        task_on(few, unlabelled=digits).prepare(0, time.monotonic() - 1)
    with pytest.raises(ShapeError, match=r"unlabelled has images \(3, 8, 8\); expected \(1, 8, 8\)"):
        tune(few, unlabelled=[torch.zeros(3, 8, 8, dtype=torch.uint8)])
    with pytest.raises(DataError, match="no images"):
        tune(few, unlabelled=[])
    with pytest.raises(InputError, match="a GAN needs no labels"):
        tune(few, task="fid", unlabelled=digits)


# Autoencoders


def test_an_autoencoder_of_a_callable_sees_training_parts_only(few, tmp_path):
    train = Untrained()
    result = tune(few, train, space=ONE, out=tmp_path / "run", **QUICK)
    task = task_on(few)
    cells = len(train.saw) - 1
    assert cells == len(list((tmp_path / "run/autoencoders").glob("cell-*.safetensors")))
    order = [*range(cells)] if cells == 24 else [0, 1, *range(4, 4 + cells - 2)]  # pruned half-way, or not
    for cell, saw in zip(order, train.saw[:-1], strict=True):
        held_out = set(map(bytes, task._parts(cell)[1].images.numpy()))
        assert saw
        assert not saw & held_out
    assert train.saw[-1] == set(map(bytes, few.images.numpy()))  # the last is the one to use
    again = Untrained()
    assert tune(few, again, space=ONE, out=tmp_path / "run", **QUICK).config == result.config
    assert again.saw == []


def test_a_text_trains_from_scratch_and_a_deadline_stops_it(few, monkeypatch):
    monkeypatch.setattr("augmentor.tuning.autoencoders._STEPS", 2)
    build = FromScratch("vae(latent_dim=4, width=8)", mild_geometry())
    model = build(few)
    assert model.latent_dim == 4
    assert model.stats.fitted
    for one, two in zip(model.parameters(), build(few).parameters(), strict=True):
        assert torch.equal(one, two)
    with pytest.raises(BudgetError, match="in the middle of a training"):
        build(Until(few, time.monotonic() - 1))


def test_an_autoencoder_object_is_kept_beside_the_json_and_left_as_it_was(few, trained_vae, tmp_path):
    before = {name: value.clone() for name, value in trained_vae.state_dict().items()}
    tune(few, trained_vae, space=ONE, out=tmp_path / "run", **QUICK)
    assert all(torch.equal(before[name], value) for name, value in trained_vae.state_dict().items())
    moved = (tmp_path / "run").rename(tmp_path / "elsewhere")
    with pytest.warns(AugmentorWarning, match="p=0"):
        augment = LatentAugment.from_config(moved / "policy.json")
    assert augment.autoencoder.latent_dim == trained_vae.latent_dim


# policy.json


@pytest.mark.parametrize("source", ["vae(latent_dim=4, width=8)", "object", "file"])
def test_without_a_folder_the_result_has_the_autoencoder(few, trained_vae, tmp_path, monkeypatch, source):
    monkeypatch.setattr("augmentor.tuning.autoencoders._STEPS", 2)
    trained_vae.save(tmp_path / "model.safetensors")
    given = {"object": trained_vae, "file": tmp_path / "model.safetensors"}.get(source, source)
    result = tune(few, given, space=ONE, **QUICK)
    config = result.config | {"p": 0.5}
    if source == "file":
        assert LatentAugment.from_config(config).autoencoder.latent_dim == trained_vae.latent_dim
    else:
        with pytest.raises(InputError, match="give autoencoder= it"):
            LatentAugment.from_config(config)
    assert LatentAugment.from_config(config, autoencoder=result.autoencoder).p == 0.5


def averaged() -> CallableAutoencoder:
    """One without latent statistics, that no file can hold."""
    return CallableAutoencoder(
        lambda images: F.avg_pool2d(images, 4).flatten(1),
        lambda z: F.interpolate(z.reshape(-1, 1, 2, 2), size=8),
        (1, 8, 8),
        version="averaged",
    )


def test_latent_statistics_that_were_fitted_are_written_down(few, tmp_path):
    source = averaged()
    tune(few, source, space=ONE, out=tmp_path, **QUICK)
    assert not source.stats.fitted  # ours are a copy's
    with pytest.warns(AugmentorWarning, match="p=0"):
        augment = LatentAugment.from_config(tmp_path / "policy.json", autoencoder=averaged())
    fitted = LatentAugment(averaged()).fit(few)
    assert augment.autoencoder.stats.values() == fitted.autoencoder.stats.values()


def test_images_without_labels_count_in_latent_statistics_too(few, digits, tmp_path):
    many = digits.subset(torch.arange(300, 400))
    result = tune(few, averaged(), unlabelled=many, space=ONE, out=tmp_path, **QUICK)
    fitted = LatentAugment(averaged()).fit(few, unlabelled=many)
    assert result.config["statistics"] == fitted.autoencoder.stats.values()


def test_a_callable_may_give_a_model_that_no_file_can_hold(few, tmp_path):
    result = tune(few, lambda part: averaged(), space=ONE, out=tmp_path, **QUICK)
    assert result.config["autoencoder"] is None
    again = Autoencoders(lambda part: averaged(), tmp_path, "cpu")
    assert again.get("cell-000", few).latent_shape == (4,)


def test_what_it_writes_can_be_used(few, tmp_path):
    result = tune(few, "digits", space=ONE, out=tmp_path, **QUICK)
    assert result.answer == "none"
    with pytest.warns(AugmentorWarning, match="p=0"):
        augment = LatentAugment.from_config(tmp_path / "policy.json")
    assert (augment.p, str(augment.policy)) == (0.0, "gaussian(std=0.5)")
    with pytest.warns(match="adds no synthetic samples"):
        assert len(MixedDataset(few, augment, sampling_strategy="tuned")) == len(few)
    assert result.config["best_control"] in ("none", "geometric", "mixup")


def test_what_a_winner_writes_can_be_used(uneven):
    task = task_on(uneven)
    setting = {"policy": "smote(k=5)", "residual": 0.5, "ratio": 1.0, "balance": 0.5, "gate": True, "base": "geometric"}
    config = task.config(setting, True)
    augment = LatentAugment.from_config(config)
    assert (augment.p, config["base"], config["autoencoder"]) == (0.5, "geometric", "digits")
    assert augment.residual == 0.5
    assert augment.gate is not None
    assert len(MixedDataset(uneven, augment, sampling_strategy="tuned")) == 2 * (60 + 5 * 2)
    images, _ = augment(uneven.images, uneven.targets)
    assert images.shape == uneven.images.shape


# Killed


def small_race(out):
    """Three settings, which take no time worth speaking of."""
    space = {**ONE, "policy": ["gaussian(std=0.5)", "smote(k=5)", "class_gaussian"]}
    return tune(few_of_each(load_source("digits"), 4, 0), "digits", space=space, geometry=None, out=out, **QUICK)


def test_killed_in_the_middle_it_resumes_to_the_same_answer(tmp_path):
    code = "import sys; sys.path.insert(0, sys.argv[1]); from test_tasks import small_race; small_race(sys.argv[2])"
    killed = subprocess.Popen(
        [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path / "killed")],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    journal = tmp_path / "killed/trials.jsonl"
    while killed.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") >= 9):
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    left = journal.read_bytes()
    assert not (tmp_path / "killed/policy.json").exists()
    small_race(tmp_path / "killed")
    small_race(tmp_path / "whole")
    assert journal.read_bytes().startswith(left[: left.rfind(b"\n") + 1])

    def scores(name):
        lines = (tmp_path / name / "trials.jsonl").read_text().splitlines()
        return [{**json.loads(line), "seconds": 0, "elapsed": 0} for line in lines]

    assert scores("killed") == scores("whole")
    assert (tmp_path / "killed/policy.json").read_bytes() == (tmp_path / "whole/policy.json").read_bytes()


# GANs


def test_a_gan_task_races_modes_against_controls(digits, tmp_path):
    space = {"policy": ["gaussian(std=0.5)"], "mode": ["both"]}
    result = tune(digits.subset(torch.arange(60)), "digits", task="fid", budget=1000, steps=2, batch_size=16,
                  space=space, out=tmp_path, progress=False)  # fmt: skip
    assert [row["shown"]["setting"] for row in result.table] == ["none", "geometric", "gaussian(std=0.5), both"]
    assert result.config["mode"] == "both"
    assert all(score > 0 for row in result.table for score in row["search"])
    assert LatentAugment.from_config(result.config | {"p": 0.5}).p == 0.5


def test_a_gan_scores_the_same_at_every_call(digits, global_rng_untouched):
    def scores():
        options = {"score": "fid", "geometry": mild_geometry(), "steps": 2, "batch_size": 16, "space": None, "seed": 0}
        some = digits.subset(torch.arange(40))
        task = GenerationTask(some, Autoencoders("digits", None, "cpu"), **options, device="cpu")
        return [task.evaluate({"control": name}, 0, math.inf) for name in task.controls]

    first = scores()
    with seeded(7):  # whatever was drawn before
        torch.rand(5)
        assert scores() == first


def test_a_gan_needs_no_labels(digits):
    space = {"policy": ["gaussian(std=0.5)"], "mode": ["both"]}
    result = tune(list(digits.images[:40]), "digits", task="kid", budget=1000, steps=2, batch_size=16, space=space,
                  progress=False)  # fmt: skip
    assert [row["shown"]["setting"] for row in result.table][:2] == ["none", "geometric"]


def test_an_autoencoder_for_a_gan_is_trained_once_before_all_else(digits, tmp_path):
    train = Untrained()
    space = {"policy": ["gaussian(std=0.5)"], "mode": ["both"]}
    tune(digits.subset(torch.arange(40)), train, task="kid", budget=1000, steps=2, batch_size=16, space=space,
         out=tmp_path, progress=False)  # fmt: skip
    assert len(train.saw) == 1
    lines = (tmp_path / "trials.jsonl").read_text().splitlines()
    assert "open" in json.loads(lines[0])


# Bad input


def test_what_does_not_fit_is_refused(few, digits, tmp_path):
    with pytest.raises(InputError, match="task is one of accuracy, macro_recall, fid, kid or a Task, got 'speed'"):
        tune(few, task="speed")
    with pytest.raises(UnknownNameError, match="did you mean 'digits'"):
        tune(few, "digit")
    with pytest.raises(UnknownNameError, match="unknown autoencoder 'vea'"):
        tune(few, "vea(latent_dim=4)")
    with pytest.raises(ShapeError):
        tune(few, "mnist")
    with pytest.raises(InputError, match="'vae' has no argument 'latent'; did you mean 'latent_dim'"):
        tune(few, "vae(latent=4)", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match=r"autoencoder is a pretrained name.*got None"):
        tune(few, None)
    with pytest.raises(DataError, match="got a label of -1; expected class numbers from 0"):
        tune([(image, label - 1) for image, label in few], folds=2)
    with pytest.raises(DataError, match=r"class '0' has 4 images, too few for 5 folds"):
        tune(few, folds=5)
    with pytest.raises(DataError, match="expected at least 2 to tell apart"):
        tune(digits.subset(digits.targets == 3))
    with pytest.raises(DataError, match="no labels"):
        tune([torch.zeros(1, 8, 8, dtype=torch.uint8)] * 10)
    with pytest.raises(InputError, match="folds is at least 2"):
        tune(few, folds=1)
    with pytest.raises(BudgetError, match=r"a budget of 0.01 s is too small: .* at least about \d+ s"):
        tune(few, budget=0.01, folds=2, progress=False)
    for space, said in (
        ({"colour": [1]}, "space has no 'colour'"),
        ({"ratio": []}, "at least one value"),
        ({"policy": "gaussian"}, "a list of at least one value"),
        ({"ratio": [0.0]}, "adds nothing"),
        ({"ratio": [-1.0]}, "ratio >= 0"),
        ({"gate": ["on"]}, "expected True and False"),
        ({"residual": [1.5]}, "for residual; expected numbers from 0 to 1"),
        ({"base": ["cropped"]}, "expected 'none'"),
    ):
        with pytest.raises(InputError, match=said):
            tune(few, space=space)
    with pytest.raises(UnknownNameError, match="unknown policy"):
        tune(few, space={"policy": ["gausian"]})
    for space, said in (
        ({"ratio": [1.0]}, "space has no 'ratio'; known: policy, mode"),
        ({"policy": []}, "a list of at least one value"),
        ({"policy": "gaussian"}, "a list of at least one value"),
        ({"mode": ["fake"]}, "expected 'both' and 'real'"),
    ):
        with pytest.raises(InputError, match=said):
            tune(few, task="kid", space=space)
    with pytest.raises(InputError, match="a list of at least one value"):
        tune(few, space={"ratio": 2.0})


# Data sets around data sets


def test_data_sets_around_data_sets(few):
    part = Part(few, torch.tensor([3, 1]).numpy(), few.classes)
    assert len(part) == 2
    assert torch.equal(part[0][0], few[3][0])
    assert part.targets.tolist() == [few[3][1], few[1][1]]
    turned = Transformed(few, lambda image: image.flip(-1))
    assert torch.equal(turned[2][0], few[2][0].flip(-1))
    assert torch.equal(turned.targets, few.targets)
    with pytest.raises(DataError, match="no labels"):
        _ = Transformed(list(few.images), lambda image: image).targets
    mixed = MixedDataset(few, LatentAugment("digits"), ratio=1.0)
    moved = Transformed(mixed, lambda image: image)
    before = moved[len(few)][0]
    moved.set_epoch(1)
    assert not torch.equal(moved[len(few)][0], before)  # and so is its noise
    Transformed(few, lambda image: image).set_epoch(1)  # there are no epochs in it
    until = Until(few, time.monotonic() + 1000)
    assert until.fingerprint == few.fingerprint
    assert len(until) == len(few)
    assert torch.equal(until[0][0], few[0][0])
    with pytest.raises(BudgetError):
        Until(few, time.monotonic() - 1)[0]


def test_a_data_set_of_ones_own_may_have_a_subset_of_its_own(few):
    class Named(list):
        subset = "train"

    task = task_on(Named(few[row] for row in range(len(few))))
    train, test = task._parts(0)
    assert len(train) + len(test) == len(few)


def test_a_network_with_other_arguments_is_another_run(few):
    def recorded(network):
        return task_on(few, network=network).settings()["network"]

    assert recorded(functools.partial(small_cnn, width=8)) == recorded(functools.partial(small_cnn, width=8))
    assert recorded(functools.partial(small_cnn, width=8)) != recorded(functools.partial(small_cnn, width=16))
    assert recorded(small_cnn) == "small_cnn"


def test_few_of_each_class_of_soft_labels(digits):
    soft = torch.eye(10)[digits.targets[:200]]
    some = few_of_each([(image, label) for image, label in zip(digits.images[:200], soft, strict=True)], 2, seed=0)
    assert some.targets.argmax(1).bincount().tolist() == [2] * 10


def test_few_of_each_class(digits):
    some = few_of_each(digits, 3, seed=1)
    assert some.targets.bincount().tolist() == [3] * 10
    assert some.fingerprint == few_of_each(digits, 3, seed=1).fingerprint != few_of_each(digits, 3, seed=2).fingerprint


def test_pretrained_names_are_not_mistaken_for_families():
    assert Autoencoders("digits", None, "cpu").named == "digits"
    assert load_autoencoder("digits").name == "vae"
