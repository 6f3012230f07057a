"""The metrics: known values, the order of their arguments, their silence, and what they refuse."""

from __future__ import annotations

import io
import random
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from augmentor.exceptions import DataError, InputError, RangeError, ShapeError, WeightsError
from augmentor.quality import (
    AutoencoderFeatures,
    DINOv2Features,
    InceptionFeatures,
    ModuleFeatures,
    compare,
    evaluate,
    extract,
    load_features,
    named_scores,
)

SCORES = {"fid", "kid", "kid_std", "precision", "recall"}
FEATURES = ModuleFeatures(nn.AvgPool2d(2))  # (1,8,8) => 16


def normal(rows: int, columns: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def pictures(rows: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(rows, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


# compare


def test_equal_sets_are_at_distance_nil():
    features = normal(300)
    scores = compare(features, features.clone())
    assert scores.keys() == SCORES
    assert scores["fid"] == pytest.approx(0, abs=1e-6)
    assert -0.2 < scores["kid"] <= 0  # two subsets of one set share members
    assert scores["precision"] == scores["recall"] == 1


def test_fid_of_normals_is_the_analytic_value():
    """|m1 - m2|^2 + sum (s1 - s2)^2 for normals with diagonal covariance."""
    a, b = normal(4000, 4, seed=1), 2 * normal(4000, 4, seed=2) + torch.tensor([3.0, 0, 0, 0])
    assert compare(a[:2000], a[2000:], kid_subset_size=100)["fid"] < 0.02
    assert compare(a, b, kid_subset_size=100)["fid"] == pytest.approx(9 + 4 * (2 - 1) ** 2, rel=0.05)


def test_kid_grows_with_the_shift_and_is_nil_on_average():
    near = [compare(normal(100, seed=i), normal(100, seed=100 + i))["kid"] for i in range(20)]
    assert min(near) < 0 < max(near)
    assert abs(np.mean(near)) < 0.05
    shifted = compare(normal(200, seed=1), normal(200, seed=2) + 1)
    assert shifted["kid"] > 0.5
    assert 0 < shifted["kid_std"] < shifted["kid"]


def test_generated_comes_first():
    """Generated samples at one of two places: all plausible, half of the real ones covered."""
    offset = torch.zeros(8)
    offset[0] = 100
    one_place = normal(200, seed=1)
    two_places = torch.cat([normal(200, seed=2), normal(200, seed=3) + offset])
    scores = compare(one_place, two_places)
    assert scores["precision"] > 0.8
    assert 0.3 < scores["recall"] <= 0.5
    swapped = compare(two_places, one_place)
    assert (swapped["precision"], swapped["recall"]) == (scores["recall"], scores["precision"])


def test_the_seed_decides():
    a, b = normal(100, seed=1), normal(100, seed=2)
    assert compare(a, b, seed=1) == compare(a, b, seed=1)
    first, other = compare(a, b, seed=1), compare(a, b, seed=2)
    assert first["kid"] != other["kid"]
    assert first["fid"] == other["fid"]
    assert compare(a, b, seed=-1).keys() == SCORES
    assert compare(a, b, kid_subset_size=10, seed=1)["kid_std"] > first["kid_std"]


@pytest.mark.parametrize(("rows", "columns"), [(10, 2), (10, 8), (20, 64)])
def test_few_samples_are_enough_to_compute(rows, columns):
    scores = compare(normal(rows, columns, seed=1), normal(rows + 1, columns, seed=2))
    assert np.isfinite(list(scores.values())).all()


def test_bad_features_are_refused():
    good, spoilt = normal(20), normal(20)
    spoilt[3, 0] = torch.nan
    for generated, real, error, said in (
        (good[:9], good, DataError, "at least 10 generated samples, got 9"),
        (good, good[:0], DataError, "at least 10 real samples, got 0"),
        (good, good[:, :7], ShapeError, "got 8 and 7"),
        (good, good[:, :1], ShapeError, "real features"),
        (good.reshape(20, 2, 4), good, ShapeError, "generated features"),
        (good, spoilt, RangeError, "in 1 of 20 real samples"),
        (good / 0, good, RangeError, "in 20 of 20 generated samples"),
    ):
        with pytest.raises(error, match=said):
            compare(generated, real)
    for arguments in ({"k": 0}, {"k": 20}, {"kid_subset_size": 1}):
        with pytest.raises(InputError, match="expected 1 <= k < 20"):
            compare(good, good, **arguments)


# evaluate


def test_evaluate_gives_scores_floor_and_counts():
    real = pictures(400)
    same = evaluate(pictures(300, seed=1), real, FEATURES)
    assert same.keys() == SCORES | {"floor", "counts", "alarm"}
    assert same["floor"].keys() == SCORES
    assert same["counts"] == {"generated": 300, "real": 400, "floor": 200}
    # From the same distribution: no better than the floor, and not much worse.
    assert 0.3 * same["floor"]["fid"] < same["fid"] < 2 * same["floor"]["fid"]
    dark = evaluate(0.5 * pictures(300, seed=1), real, FEATURES)
    assert dark["floor"] == same["floor"]
    assert dark["fid"] > 20 * dark["floor"]["fid"]
    assert dark["precision"] < same["precision"]
    assert same["alarm"] == []
    assert any("distance" in reason for reason in dark["alarm"])
    one = evaluate(real[:1].expand(300, -1, -1, -1), real, FEATURES)
    assert "0% of the variance of real images" in one["alarm"][-1]
    with pytest.raises(DataError, match="at least 20 real images"):
        evaluate(pictures(30), pictures(19), FEATURES)


def test_figures_carry_the_name_of_their_features():
    scores = {"fid": 1.0, "kid": 2.0, "kid_std": 3.0, "fjd": 4.0, "precision": 5.0, "alarm": []}
    named = named_scores(scores, "smallnet")
    assert list(named) == ["fd-smallnet", "kd-smallnet", "kd_std-smallnet", "fjd-smallnet", "precision", "alarm"]
    assert list(named.values()) == list(scores.values())
    assert named_scores(scores, "inception") == scores


def test_floor_of_sorted_data_mixes_the_classes():
    """Halves are drawn, not cut: data sets often come sorted by class."""
    labels_sorted = torch.cat([0.2 * pictures(100), 0.8 + 0.2 * pictures(100, seed=1)])
    scores = evaluate(labels_sorted, labels_sorted, FEATURES)
    assert scores["fid"] == pytest.approx(0, abs=1e-6)
    assert scores["floor"]["fid"] < 0.5  # halves cut in the middle are at 10


def test_evaluate_is_silent_and_leaves_random_states_alone(capfd):
    state = torch.get_rng_state(), np.random.get_state(), random.getstate()
    evaluate(pictures(40), TensorDataset(pictures(41), torch.zeros(41)), FEATURES, batch_size=16, seed=3)
    after = torch.get_rng_state(), np.random.get_state(), random.getstate()
    assert torch.equal(state[0], after[0])
    assert all(np.array_equal(a, b) for a, b in zip(state[1], after[1], strict=True))
    assert state[2] == after[2]
    assert capfd.readouterr() == ("", "")


# extract


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_extract_reads_tensors_and_data_sets_alike(batch_size):
    images = pictures(10)
    expected = nn.functional.avg_pool2d(images, 2).flatten(1)
    for source in (images, list(images), TensorDataset(images, torch.arange(10))):
        found = extract(FEATURES, source, batch_size)
        assert found.dtype == torch.float32
        assert torch.equal(found, expected)
    function = extract(lambda x: nn.functional.avg_pool2d(x.double(), 2).flatten(1), images, device="cpu")
    torch.testing.assert_close(function, expected)
    uint8 = (255 * images).to(torch.uint8)
    torch.testing.assert_close(FEATURES(uint8), FEATURES(uint8.float() / 255))


def test_extract_refuses_what_it_cannot_read():
    for images, error, said in (
        (pictures(0), DataError, "empty"),
        ((image for image in pictures(3)), DataError, "map-style data set, got generator"),
        ([np.zeros((8, 8, 1))], DataError, "got ndarray"),
        ([torch.zeros(8, 8)], DataError, r"got \(8, 8\)"),
        ([torch.zeros(1, 8, 8), torch.zeros(1, 9, 8)], ShapeError, "one size"),
        (torch.zeros(8, 8), ShapeError, r"expected images \(N,C,H,W\), got \(8, 8\)"),
        (255 * pictures(3), RangeError, "values from"),
    ):
        with pytest.raises(error, match=said):
            extract(FEATURES, images)
    with pytest.raises(ShapeError, match=r"expected features \(3, F\)"):
        extract(lambda x: x, pictures(3))


# extractors


class Squeeze(nn.Module):
    """An autoencoder as far as the features go: a latent of the shape that was asked for."""

    def __init__(self, feature_map: bool):
        super().__init__()
        self.feature_map = feature_map
        self.norm = nn.BatchNorm2d(1)

    def encode(self, images):
        latent = self.norm(images)
        return SimpleNamespace(mean=latent if self.feature_map else latent.flatten(1)[:, :6])


@pytest.mark.parametrize(
    ("feature_map", "size", "expected"), [(False, 32, 6), (True, 32, 64), (True, 4, 16), (True, 20, 64)]
)
def test_autoencoder_features(feature_map, size, expected):
    autoencoder = Squeeze(feature_map)
    features = AutoencoderFeatures(autoencoder)
    found = features(torch.rand(3, 1, size, size))
    assert found.shape == (3, expected)
    assert not found.requires_grad
    if size == 32 and feature_map:  # an average of cells, not a selection
        images = torch.rand(2, 1, 32, 32)
        wanted = nn.functional.avg_pool2d(autoencoder.eval().encode(images).mean, 4).flatten(1)
        torch.testing.assert_close(features(images), wanted)


def test_autoencoders_of_this_package_serve_as_features():
    from augmentor.autoencoders import autoencoders

    for name in autoencoders.names():
        features = AutoencoderFeatures(autoencoders.get(name).example())
        images = (255 * pictures(3)).to(torch.uint8)
        assert torch.equal(features(images), features(images.float() / 255))


def test_extractors_run_in_eval_mode_and_leave_their_owners_mode():
    module = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5), nn.Conv2d(1, 2, 3)).train()
    module[0].eval()
    features, images = ModuleFeatures(module), pictures(4)
    before = module[0].running_mean.clone()
    assert torch.equal(features(images), features(images))  # no dropout
    assert torch.equal(module[0].running_mean, before)
    assert [part.training for part in module] == [False, True, True]
    assert module.training


def test_extractors_refuse_what_is_not_a_feature():
    with pytest.raises(InputError, match="ModuleFeatures for a plain network"):
        AutoencoderFeatures(nn.Identity())

    class Two(nn.Module):
        def forward(self, images):
            return images, images

    with pytest.raises(InputError, match="got tuple"):
        ModuleFeatures(Two())(pictures(2))


# Inception


@pytest.fixture(scope="module")
def blank_weights(tmp_path_factory):
    """A file as torch-fidelity publishes it, with weights that nobody trained."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Blank(FeatureExtractorInceptionV3):
        def load_state_dict(self, state_dict):
            pass

    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(Blank("blank", ["2048"], feature_extractor_weights_path=nothing).state_dict(), path)
    return path


def test_inception_features(blank_weights):
    state = torch.get_rng_state()
    features = InceptionFeatures(blank_weights)
    assert torch.equal(state, torch.get_rng_state())
    grey = pictures(2)
    found = extract(features, grey)
    assert found.shape == (2, 2048)
    torch.testing.assert_close(found, features((255 * grey).round().to(torch.uint8).repeat(1, 3, 1, 1)))
    with pytest.raises(ShapeError, match="1 or 3"):
        features(torch.rand(2, 4, 8, 8))


def test_absent_inception_weights_are_not_fetched_unasked(tmp_path, monkeypatch):
    def fetch(*args, **kwargs):
        raise AssertionError("nobody asked for a download")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(WeightsError, match="save it there"):
        InceptionFeatures()
    with pytest.raises(WeightsError, match=r"not at .*mine\.pth"):
        InceptionFeatures(tmp_path / "mine.pth", download=True)


def test_download_goes_to_the_cache_and_is_checked(tmp_path, monkeypatch, blank_weights):
    asked = []

    def fetch(url, path, hash_prefix, progress):
        asked.append((url.rpartition("/")[2], hash_prefix, progress))
        with open(path, "wb") as file:
            file.write(blank_weights.read_bytes())

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    InceptionFeatures(download=True)
    InceptionFeatures()  # from the cache
    assert asked == [("weights-inception-2015-12-05-6726825d.pth", "6726825d", False)]


class Trap:
    """What a hostile weights file holds: unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_hostile_and_foreign_inception_weights_are_refused(tmp_path):
    path, sprung = tmp_path / "weights.pth", tmp_path / "sprung"
    torch.save({"weight": Trap(sprung)}, path)
    with pytest.raises(WeightsError, match="not a file of plain tensors"):
        InceptionFeatures(path)
    assert not sprung.exists()
    path.write_bytes(b"\x80\x02garbage")
    with pytest.raises(WeightsError, match="not a file of plain tensors"):
        InceptionFeatures(path)
    torch.save({"weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="does not hold the weights"):
        InceptionFeatures(path)


# DINOv2


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of torch hub, and what is asked of it; it answers with a network that nobody trained."""
    asked = []

    def load(repository, model, **options):
        asked.append((repository, model))
        code, weights = tmp_path / "facebookresearch_dinov2_main", tmp_path / f"checkpoints/{model}_pretrain.pth"
        code.mkdir(exist_ok=True)
        weights.parent.mkdir(exist_ok=True)
        weights.touch()
        return torch.nn.Sequential(torch.nn.AvgPool2d(56), torch.nn.Flatten(), torch.nn.Linear(48, 384))

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "load", load)
    return asked


def test_dinov2_features(hub):
    state = torch.get_rng_state()
    features = DINOv2Features(download=True)
    assert torch.equal(state, torch.get_rng_state())
    assert set(hub) == {("facebookresearch/dinov2", "dinov2_vits14")}
    grey = pictures(2)
    found = extract(features, grey)
    assert found.shape == (2, 384)
    torch.testing.assert_close(found, features((255 * grey).round().to(torch.uint8).repeat(1, 3, 1, 1)))
    assert load_features("dinov2-vit-s-14").name == "dinov2-vit-s-14"  # from the cache
    with pytest.raises(ShapeError, match="1 or 3"):
        features(torch.rand(2, 4, 8, 8))


def test_dinov2_is_not_fetched_unasked_and_says_when_it_cannot_be(hub, monkeypatch):
    with pytest.raises(WeightsError, match=r"download=True.*'smallnet'"):
        DINOv2Features()
    assert not hub

    def offline(*args, **options):
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "load", offline)
    with pytest.raises(WeightsError, match=r"cannot download.*no network.*'smallnet'"):
        DINOv2Features(download=True)
