"""`tune` on real data, tiny: folds, autoencoders, controls, the GAN task, killing it, and what it refuses."""

from __future__ import annotations

import copy
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms import v2

from augmentor import LatentAugment, MixedDataset, tune
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
)  # fmt: skip
from augmentor.policies import get_policy
from augmentor.training import mild_geometry, small_cnn
from augmentor.tuning import classification
from augmentor.tuning.autoencoders import Autoencoders, FromScratch, resolve
from augmentor.tuning.classification import POLICIES, ClassificationTask
from augmentor.tuning.datasets import Until, few_of_each
from augmentor.tuning.generation import GenerationTask
from augmentor.tuning.work import Work

pytestmark = pytest.mark.usefixtures("short_final")
ROOT = Path(__file__).resolve().parents[2]
ONE = {"policy": ["gaussian(std=0.5)"], "residual": [0.0], "ratio": [1.0], "gate": [False], "base": ["none"]}
MILD = ["mild affine"]
QUICK = {"budget": 1000, "steps": 3, "batch_size": 16, "folds": 2, "controls": MILD, "progress": False}
SETTING = {"policy": "gaussian(std=0.5)", "residual": 0.0, "ratio": 1.0, "balance": 0.0, "gate": False, "base": "none"}


@pytest.fixture(scope="module")
def few(digits) -> ArrayDataset:
    return few_of_each(digits, 4, seed=0)


@pytest.fixture(scope="module")
def uneven(digits) -> ArrayDataset:
    rows = [torch.nonzero(digits.targets == label).squeeze(1)[: 4 + 4 * (label % 2)] for label in range(10)]
    return digits.subset(torch.cat(rows))


@pytest.fixture
def trained_on(monkeypatch) -> list:
    """The data sets that classifiers were trained on."""
    seen, train = [], classification.train_classifier
    monkeypatch.setattr(
        classification, "train_classifier", lambda *args, **rest: seen.append(args[1]) or train(*args, **rest)
    )
    return seen


def task_on(data, autoencoder="digits", **options) -> ClassificationTask:
    settings = {"score": "accuracy", "controls": MILD, "network": small_cnn, "steps": 3, "batch_size": 16,
                "folds": 2, "space": None, "seed": 0, "device": "cpu", **options}  # fmt: skip
    return ClassificationTask(data, Autoencoders(autoencoder, None, "cpu"), **settings)


def pixels(dataset) -> set[bytes]:
    return {bytes(dataset[i][0].numpy()) for i in range(len(dataset))}


class Untrained:
    """Notes what it was trained on."""

    def __init__(self):
        self.saw = []

    def __call__(self, dataset):
        self.saw.append(pixels(dataset))
        with seeded(len(dataset)):
            model = ConvVAE((1, 8, 8), latent_dim=4, width=8)
        model.stats.fit([torch.randn(20, 4, generator=torch.Generator().manual_seed(0))])
        return model


def averaged(*_) -> CallableAutoencoder:
    """One without latent statistics, that no file can hold."""
    return CallableAutoencoder(
        lambda images: F.avg_pool2d(images, 4).flatten(1),
        lambda z: F.interpolate(z.reshape(-1, 1, 2, 2), size=8),
        (1, 8, 8),
        version="averaged",
    )


# Folds, controls and settings


def test_images_on_white_are_moved_on_white(few):
    white = ArrayDataset(255 - few.images, few.targets, few.classes)
    codes = [task_on(data, controls=["affine"]).code({"control": "affine"}) for data in (few, white)]
    assert ["fill=255" in code for code in codes] == [False, True]
    gans = [
        GenerationTask(
            data, Autoencoders("digits", None, "cpu"), score="fid", controls=None, steps=1, batch_size=8, space=None,
            seed=0, device="cpu",
        )
        for data in (few, white)
    ]  # fmt: skip
    assert ["fill=255" in gan.recipes["mild affine"].code for gan in gans] == [False, True]


def test_every_repeat_splits_anew_and_every_fold_holds_all_classes(few):
    tests = [task_on(few).samples(cell) for cell in range(4)]
    assert sorted(tests[0] + tests[1]) == sorted(tests[2] + tests[3]) == list(range(len(few)))
    assert sorted(tests[0]) not in (sorted(tests[2]), sorted(tests[3]))
    assert all(set(few.targets[rows].tolist()) == set(range(10)) for rows in tests)


def test_outcomes_of_images_add_up_to_the_score_over_a_repeat(uneven):
    task = task_on(uneven, score="macro_recall", steps=20)
    found = [task.evaluate({"control": "none"}, cell, math.inf) for cell in (2, 3)]
    weights = torch.tensor(task.weights)[[*task.samples(2), *task.samples(3)]]
    right = torch.tensor([*found[0].right, *found[1].right]).float()
    mean = float((weights * right).sum() / weights.sum())
    assert mean == pytest.approx((found[0].value + found[1].value) / 2, abs=1e-6)
    assert 0 < mean < 1


@pytest.mark.slow
def test_a_score_is_the_same_at_every_call_and_differs_between_settings(few, global_rng_untouched):
    task = task_on(few, steps=10)
    settings = [{"control": name} for name in task.controls]
    settings += [{**SETTING, "residual": 1.0, "gate": True, "base": base} for base in ("none", "mild affine")]
    scores = [[task.evaluate(setting, 1, math.inf) for setting in settings] for _ in range(2)]
    assert scores[0] == scores[1]
    assert len({score.value for score in scores[0]}) > 1


def test_small_classes_are_filled_up_by_a_balance_and_by_controls(uneven, trained_on):
    task = task_on(uneven, controls=None, score="macro_recall")
    assert task.space["balance"] == (0.0, 0.5, 1.0)
    task.evaluate({**SETTING, "ratio": 0.5, "balance": 1.0}, 0, math.inf)
    labels = torch.tensor([trained_on[0][row][1] for row in range(len(trained_on[0]))])
    assert labels.bincount().tolist() == [6] * 10
    for control, moves in (("none, oversampling", False), ("mild affine, oversampling", True)):
        task.evaluate({"control": control}, 0, math.inf)
        assert trained_on[-1].targets.bincount().tolist() == [4] * 10
        assert (pixels(trained_on[-1]) <= pixels(uneven)) != moves


def test_logit_adjustment_is_a_control_where_classes_are_unequal(few, uneven):
    for score in ("accuracy", "macro_recall"):
        adjusted = [name for name in task_on(uneven, controls=None, score=score).controls if "logit" in name]
        assert adjusted == ["RandAugment, affine, logit adjustment"]
    assert not any("logit" in name or "oversampling" in name for name in task_on(few, controls=None).controls)


def test_logit_adjustment_takes_the_frequencies_of_the_training_part(uneven, monkeypatch):
    priors, train = [], classification.train_classifier
    monkeypatch.setattr(
        classification, "train_classifier", lambda *args, **rest: priors.append(rest["prior"]) or train(*args, **rest)
    )
    task = task_on(uneven, controls=None)
    for control in ("RandAugment, affine, logit adjustment", "RandAugment, affine"):
        task.evaluate({"control": control}, 0, math.inf)
    torch.testing.assert_close(priors[0], torch.tensor([2.0, 4.0] * 5) / 30)
    assert priors[1] is None


def test_every_usual_control_can_be_scored(few, uneven):
    for data in (few, uneven, ArrayDataset(few.images.repeat(1, 3, 1, 1), few.targets, few.classes)):
        task = task_on(data, get_autoencoder("dense")(data.image_shape, latent_dim=4), controls=None, steps=2)
        scores = {name: task.evaluate({"control": name}, 0, math.inf) for name in task.controls}
        assert {"none"} < set(scores)
        assert all(0 <= score.value <= 1 for score in scores.values())


def test_balance_posterior_and_controls_are_searched_only_where_they_mean_something(few):
    plain = get_autoencoder("dense")((1, 8, 8), latent_dim=4)
    plain.stats.fit([torch.randn(20, 4)])
    task = task_on(few, plain, controls=())
    assert (task.space["balance"], task.space["base"], task.controls) == ((0.0,), ("none",), ("none",))
    assert not any("posterior" in text for text in task.space["policy"])
    assert any("posterior" in text for text in task_on(few).space["policy"])


@pytest.mark.parametrize("best", ["mild affine", "none"])
def test_settings_go_on_top_of_the_best_control(few, best):
    task = task_on(few)
    task.settle(best)
    tried = task.first({})
    assert {(setting["base"], setting["residual"]) for setting in tried} == {(best, 0.0)}
    assert all(setting[name] in values for setting in tried for name, values in task.space.items())
    own = task_on(few, space={"base": ["none"]})
    own.settle(best)
    assert own.space["base"] == ("none",)


def test_synthetic_samples_are_augmented_like_the_others(few, trained_on):
    black = v2.Lambda(torch.zeros_like)
    task_on(few, controls={"black": black}).evaluate({**SETTING, "base": "black"}, 0, math.inf)
    assert len(trained_on[0]) == len(few)  # half of which is the training part, and as many synthetic samples
    assert not any(image.any() for image, _ in trained_on[0])


def test_photographs_keep_their_detail_in_what_is_tried_first(few, trained_on):
    colour = ArrayDataset(few.images.repeat(1, 3, 1, 1), few.targets, few.classes)
    task = task_on(colour, get_autoencoder("dense")((3, 8, 8), latent_dim=4))
    (setting, *_) = tried = task.first({})
    assert {setting["residual"] for setting in tried} == {1.0}
    task.evaluate(setting, 0, math.inf)
    assert trained_on[0].dataset.augment.residual == 1.0


def test_smooth_noise_is_tried_first_on_feature_maps_and_not_at_all_on_vectors(few, trained_on):
    colour = ArrayDataset(few.images.repeat(1, 3, 1, 1), few.targets, few.classes)
    task = task_on(colour, "natural")
    (setting, *others) = task.first({})
    assert (setting["policy"], setting["residual"]) == ("smooth(std=0.5)", 0.0)
    assert {other["residual"] for other in others} == {1.0}
    task.evaluate(setting, 0, math.inf)
    assert trained_on[0].dataset.augment.policy.name == "smooth"
    for vectors in ("digits", FromScratch("vae(latent_dim=4)")):
        assert not any("smooth" in text for text in task_on(few, vectors).space["policy"])


@pytest.mark.parametrize("policy", list({get_policy(text).name: text for text in POLICIES}.values()))
def test_every_policy_of_the_space_can_be_scored(uneven, policy):
    setting = {"policy": policy, "residual": 0.5, "ratio": 2.0, "balance": 0.5, "gate": True, "base": MILD[0]}
    assert 0 <= task_on(uneven).evaluate(setting, 0, math.inf).value <= 1


# Images without labels


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the accuracy of pseudo-labels")  # averages of pixels say little
def test_images_without_labels_widen_the_reference_set_and_belong_to_the_run(few, digits, tmp_path):
    rest = digits.subset(torch.arange(1000, 1100))
    result = tune(few, averaged(), unlabelled=rest, space=ONE, out=tmp_path, **QUICK)
    assert result.config["unlabelled"] == 100
    fitted = LatentAugment(averaged()).fit(few, unlabelled=rest)
    assert result.config["statistics"] == fitted.autoencoder.stats.values()
    assert (tmp_path / "trials.jsonl").read_text().count('"prepare"') >= 6  # spreading labels is timed apart
    with pytest.raises(OutputError, match="unlabelled"):
        tune(few, averaged(), space=ONE, out=tmp_path, **QUICK)
    assert tune(few, averaged(), unlabelled=rest, space=ONE, out=tmp_path, **QUICK).config == result.config


def test_images_without_labels_are_among_what_a_policy_sees(few, digits, trained_on):
    for more in (None, digits.subset(torch.arange(1000, 1300))):
        task_on(few, unlabelled=more).evaluate({**SETTING, "policy": "class_gaussian"}, 0, math.inf)
    plain, wide = trained_on
    assert len(wide.augment.reference) == len(plain.augment.reference) + 240  # 60 are not sure of a label
    assert not torch.equal(plain[20][0], wide[20][0])


def test_a_deadline_stops_the_fitting_and_images_that_do_not_fit_are_refused(few, digits):
    with pytest.raises(BudgetError):
        task_on(few, unlabelled=digits).prepare(0, time.monotonic() - 1)
    with pytest.raises(ShapeError, match=r"unlabelled has images \(3, 8, 8\); expected \(1, 8, 8\)"):
        tune(few, unlabelled=[torch.zeros(3, 8, 8, dtype=torch.uint8)])


# What it will take


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "autoencoder"), [("accuracy", "digits"), ("accuracy", "vae(latent_dim=4)"), ("kid", "vae(latent_dim=4)")]
)
def test_a_budget_that_is_much_too_small_is_refused_before_the_race(
    few, tmp_path, monkeypatch, global_rng_untouched, task, autoencoder
):
    monkeypatch.setattr(Work, "score", lambda *_: pytest.fail("the race has begun"))
    monkeypatch.setattr(Work, "open", lambda *_: pytest.fail("the race has begun"))
    with pytest.raises(BudgetError, match=r"takes at least about \d{5,} s; increase"):
        tune(few, autoencoder, task=task, **{**QUICK, "steps": 10**6, "budget": 100}, out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_an_estimate_knows_what_is_made_for_each_cell_and_passes_over_what_cannot_be_used(few, digits):
    plain = get_autoencoder("dense")((1, 8, 8), latent_dim=4)
    plain.stats.fit([torch.randn(20, 4)])
    assert task_on(few, plain).estimate().prepare == 0
    assert task_on(few, plain, unlabelled=digits).estimate().prepare > 0
    assert task_on(few, FromScratch("vae(latent_dim=4)")).estimate().prepare > 1
    assert not task_on(few, Untrained()).estimates  # which may do anything
    cost = task_on(few, plain, space={"policy": ["posterior(factor=1.0)", "smote(k=5)"]}).estimate()
    assert min(cost.setting, cost.control) > 0


# Autoencoders


@pytest.mark.slow
def test_an_autoencoder_of_a_callable_sees_training_parts_only(few, tmp_path):
    train = Untrained()
    result = tune(few, train, space=ONE, out=tmp_path, **QUICK)
    cells = sorted(int(path.stem[5:]) for path in (tmp_path / "autoencoders").glob("cell-*.safetensors"))
    assert len(cells) == len(train.saw) - 1
    for cell, saw in zip(cells, train.saw[:-1], strict=True):
        assert saw == pixels(few) - pixels(few.subset(torch.tensor(task_on(few).samples(cell))))
    assert train.saw[-1] == pixels(few)  # the last is the one to use
    again = Untrained()
    assert tune(few, again, space=ONE, out=tmp_path, **QUICK).config == result.config
    assert again.saw == []


def test_auto_is_the_pretrained_autoencoder_that_fits_the_images(few):
    photographs = ArrayDataset(torch.randint(0, 256, (20, 3, 24, 24), dtype=torch.uint8))
    assert [resolve("auto", data, None, 0, "cpu") for data in (few, photographs)] == ["digits", "natural"]


def test_a_text_trains_from_scratch_and_a_deadline_stops_it(few, monkeypatch):
    monkeypatch.setattr("augmentor.tuning.autoencoders._STEPS", 2)
    build = FromScratch("vae(latent_dim=4, width=8)", mild_geometry())
    model = build(few)
    assert model.latent_dim == 4
    assert model.stats.fitted
    assert all(map(torch.equal, model.parameters(), build(few).parameters()))
    with pytest.raises(BudgetError, match="during a training"):
        build(Until(few, time.monotonic() - 1))


@pytest.mark.slow
def test_an_autoencoder_comes_with_the_folder_or_else_the_result(few, tmp_path, monkeypatch):
    monkeypatch.setattr("augmentor.tuning.autoencoders._STEPS", 2)
    model = Untrained()(few)
    before = copy.deepcopy(model.state_dict())
    tune(few, model, space=ONE, out=tmp_path / "run", **QUICK)
    moved = (tmp_path / "run").rename(tmp_path / "elsewhere")
    with pytest.warns(AugmentorWarning, match="p=0"):
        assert LatentAugment.from_config(moved / "policy.json").autoencoder.latent_dim == model.latent_dim
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    result = tune(few, "vae(latent_dim=4, width=8)", space=ONE, **QUICK)
    config = result.config | {"p": 0.5}
    with pytest.raises(InputError, match="pass this object as autoencoder="):
        LatentAugment.from_config(config)
    assert LatentAugment.from_config(config, autoencoder=result.autoencoder).p == 0.5


def test_a_model_that_no_file_can_hold_is_made_again_and_its_statistics_are_written_down(few, tmp_path):
    result = tune(few, averaged, space=ONE, out=tmp_path, **QUICK)
    assert result.config["autoencoder"] is None
    assert Autoencoders(averaged, tmp_path, "cpu").get("cell-000", few).latent_shape == (4,)
    with pytest.warns(AugmentorWarning, match="p=0"):
        augment = LatentAugment.from_config(tmp_path / "policy.json", autoencoder=averaged())
    fitted = LatentAugment(averaged()).fit(few)
    assert augment.autoencoder.stats.values() == fitted.autoencoder.stats.values()


def test_what_a_winner_writes_can_be_used(uneven):
    setting = {"policy": "smote(k=5)", "residual": 0.5, "ratio": 1.0, "balance": 0.5, "gate": True, "base": MILD[0]}
    config = task_on(uneven).config(setting, True)
    augment = LatentAugment.from_config(config)
    assert (augment.p, augment.residual, config["base"], config["autoencoder"]) == (0.5, 0.5, "mild affine", "digits")
    assert augment.gate is not None
    assert len(MixedDataset(uneven, augment, sampling_strategy="tuned")) == 2 * (60 + 5 * 2)
    images, _ = augment(uneven.images, uneven.targets)
    assert images.shape == uneven.images.shape


# Killed


def small_race(out):
    """Two settings, which take no time worth speaking of."""
    space = {**ONE, "policy": ["gaussian(std=0.5)", "smote(k=5)"]}
    with mock.patch("augmentor.tuning.race.MOST_REPEATS", 2):
        data = few_of_each(load_source("digits"), 4, 0)
        return tune(data, "digits", space=space, out=out, **{**QUICK, "controls": ()})


@pytest.mark.slow
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
        return [{**json.loads(line), "cost": 0, "seconds": 0, "elapsed": 0} for line in lines]

    assert scores("killed") == scores("whole")
    assert (tmp_path / "killed/policy.json").read_bytes() == (tmp_path / "whole/policy.json").read_bytes()


# GANs


@pytest.mark.slow
def test_a_gan_task_races_modes_against_controls_with_labels_or_without(digits, tmp_path):
    options = {"budget": 1000, "steps": 2, "batch_size": 16, "progress": False}
    space = {"policy": ["gaussian(std=0.5)"], "mode": ["both"]}
    result = tune(digits.subset(torch.arange(60)), "digits", task="fid", space=space, **options)
    assert [row["shown"]["setting"] for row in result.table] == ["none", "mild affine", "gaussian(std=0.5), both"]
    assert LatentAugment.from_config(result.config | {"p": 0.5}).p == 0.5
    train = Untrained()
    result = tune(list(digits.images[:40]), lambda images: train([(image,) for image in images]), task="kid",
                  space=space, out=tmp_path, **options)  # fmt: skip
    assert result.config["mode"] == "both"
    assert len(train.saw) == 1
    assert "open" in json.loads((tmp_path / "trials.jsonl").read_text().splitlines()[0])  # before all else


def test_a_gan_scores_the_same_at_every_call(digits, global_rng_untouched):
    options = {"score": "fid", "controls": None, "steps": 2, "batch_size": 16, "space": None, "seed": 0}
    task = GenerationTask(digits.subset(torch.arange(40)), Autoencoders("digits", None, "cpu"), **options, device="cpu")
    first = [task.evaluate({"control": name}, 0, math.inf) for name in task.controls]
    with seeded(7):  # whatever was drawn before
        assert [task.evaluate({"control": name}, 0, math.inf) for name in task.controls] == first


# Bad input


def test_what_does_not_fit_is_refused(few, digits, tmp_path):
    for data, autoencoder, options, error, said in (
        (few, "digits", {"controls": ["mild afine"]}, UnknownNameError, "did you mean 'mild affine'"),
        (few, "digits", {"controls": "none"}, InputError, "controls must be a list of names, or a dict of transforms"),
        (few, "digits", {"controls": {"mine": 3}}, InputError, r"controls\['mine'\] is 3; expected a transform"),
        (few, "digits", {"task": "fid", "controls": ["affine, MixUp"]}, InputError, "uses labels"),
        (few, "digits", {"task": "speed"}, InputError, "one of accuracy, macro_recall, fid, kid or a Task"),
        (few, "vae(latent=4)", {"out": tmp_path / "run"}, InputError, "did you mean 'latent_dim'"),
        (few, None, {}, InputError, r"autoencoder must be a pretrained name.*got None"),
        ([(image, label - 1) for image, label in few], "digits", {"folds": 2}, DataError, "got a label of -1"),
        (few, "digits", {"folds": 5}, DataError, r"class '0' has 4 images, too few for 5 folds"),
        (digits.subset(digits.targets == 3), "digits", {}, DataError, "expected at least 2 classes"),
        ([torch.zeros(1, 8, 8, dtype=torch.uint8)] * 10, "digits", {}, DataError, "no labels"),
    ):
        with pytest.raises(error, match=said):
            tune(data, autoencoder, **options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("task", "space", "said"),
    [
        ("accuracy", {"policy": ["gausian"]}, "unknown policy"),
        ("accuracy", {"policy": "gaussian"}, "a list of at least one value"),
        ("accuracy", {"ratio": [0.0]}, "adds no samples"),
        ("accuracy", {"base": ["rotation"]}, r"\['base'\] contains 'rotation'; expected names of controls"),
        ("accuracy", {"residual": [1.5]}, r"\['residual'\] contains 1.5; expected numbers from 0 to 1"),
        ("kid", {"ratio": [1.0]}, "space has no 'ratio'; known: policy, mode"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused(few, task, space, said):
    with pytest.raises(InputError, match=said):
        tune(few, task=task, space=space)
