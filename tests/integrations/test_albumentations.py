"""The albumentations transform: in pipelines, serialised, replayed, and in workers."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import augmentor.albumentations as ours
from augmentor._internal.random import seeded
from augmentor._internal.weights import save_network
from augmentor.albumentations import LatentAugment
from augmentor.autoencoders import get_autoencoder
from augmentor.exceptions import InputError, RangeError, ReferenceSetError, ShapeError, UnknownNameError

A = ours.A


@pytest.fixture(scope="module")
def image(digits) -> np.ndarray:
    """(8,8,1) uint8."""
    return digits.images[0].permute(1, 2, 0).numpy()


@pytest.fixture(scope="module")
def spatial(tmp_path_factory) -> str:
    """The path of a small RGB autoencoder for any size."""
    path = tmp_path_factory.mktemp("weights") / "spatial.safetensors"
    with seeded(0, "spatial"):
        model = get_autoencoder("spatial_kl")(channels=3, latent_channels=2, width=8)
    model.stats.fit([torch.randn(4, 2, 4, 4, generator=torch.Generator().manual_seed(0))])
    save_network(model, path)
    return str(path)


def pipeline(*args, seed: int | None = 0, **kwargs) -> A.Compose:
    return A.Compose([LatentAugment(*args, **{"p": 1.0, **kwargs})], seed=seed)


# Arrays in, arrays out


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1)])
def test_shape_and_dtype_stay(image, dtype, shape):
    given = image.reshape(shape) if dtype == np.uint8 else (image.reshape(shape) / 255).astype(dtype)
    before = given.copy()
    made = pipeline()(image=given)["image"]
    assert made.shape == shape
    assert made.dtype == dtype
    assert not np.array_equal(made, given)
    assert np.array_equal(given, before)
    assert 0 <= made.min() <= made.max() <= (255 if dtype == np.uint8 else 1)


def test_uint8_and_float_agree(image):
    whole = pipeline()(image=image, sample_key=1)["image"]
    part = pipeline()(image=(image / 255).astype(np.float32), sample_key=1)["image"]
    assert np.abs(whole / 255 - part).max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("size", [(16, 16), (13, 18)])
def test_colour_of_any_size(spatial, dtype, size):
    given = np.random.default_rng(0).random((*size, 3)).astype(np.float32)
    given = given if dtype == np.float32 else (255 * given).astype(np.uint8)
    made = pipeline(spatial, "posterior(factor=2.0)")(image=given)["image"]
    assert made.shape == given.shape
    assert made.dtype == dtype
    assert not np.array_equal(made, given)


def test_axes_are_not_mixed_up(spatial):
    """With next to no noise it is the autoencoder's reconstruction."""
    given = np.random.default_rng(0).random((16, 12, 3)).astype(np.float32)
    transform = LatentAugment(spatial, "gaussian(std=1e-5)", p=1.0)
    made = A.Compose([transform])(image=given)["image"]
    with torch.no_grad():
        expected = transform.augment.autoencoder(torch.from_numpy(given).permute(2, 0, 1)[None])
    assert expected.std() > 0.01
    np.testing.assert_allclose(made, expected[0].permute(1, 2, 0).numpy(), atol=1e-3)


def test_stacks_are_decoded_together_with_noise_of_their_own(digits):
    images = digits.images[:4].permute(0, 2, 3, 1).numpy()
    same = np.repeat(images[:1], 4, axis=0)
    made = pipeline()(images=same)["images"]
    assert made.shape == same.shape
    assert made.dtype == np.uint8
    assert len({one.tobytes() for one in made}) == 4
    assert pipeline()(volume=images)["volume"].shape == images.shape


def test_other_targets_pass(image):
    mask = (image > 0).astype(np.uint8)
    made = pipeline()(image=image, mask=mask, label=3)
    assert np.array_equal(made["mask"], mask)
    assert made["label"] == 3


def test_in_a_pipeline_with_others(image):
    compose = A.Compose([A.HorizontalFlip(p=1.0), LatentAugment(p=1.0), A.Normalize(mean=0.5, std=0.5)], seed=1)
    assert compose(image=image)["image"].dtype == np.float32


@pytest.mark.parametrize(("p", "least", "most"), [(0.0, 0, 0), (0.3, 35, 90), (1.0, 200, 200)])
def test_p_is_respected(image, p, least, most):
    compose = pipeline(p=p)
    changed = sum(not np.array_equal(compose(image=image)["image"], image) for _ in range(200))
    assert least <= changed <= most


# Chance


def test_repeated_calls_differ_and_the_seed_of_the_pipeline_reproduces_them(image):
    def run(seed):
        compose = pipeline(seed=seed)
        return [compose(image=image)["image"].tobytes() for _ in range(5)]

    assert len(set(run(7))) == 5
    assert run(7) == run(7)
    assert run(7) != run(8)
    assert len(set(run(None))) == 5


def test_different_images_get_different_noise(digits):
    keys = [pipeline().transforms[0]._key({"image": image.permute(1, 2, 0).numpy()}) for image in digits.images[:20]]
    assert len(set(keys)) == 20


def test_a_sample_key_decides_alone(image):
    one = pipeline(seed=1)(image=image, sample_key=4)["image"]
    other = pipeline(seed=2)
    other(image=image)
    assert np.array_equal(one, other(image=image, sample_key=4)["image"])
    assert len({other(image=image, sample_key=key)["image"].tobytes() for key in range(10)}) == 10
    assert np.array_equal(one, other(image=image, sample_key=np.int64(4))["image"])


def test_the_global_generators_are_left_alone(image):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()
    pipeline(seed=None)(image=image)
    assert torch.equal(torch_state, torch.get_rng_state())
    assert all(np.array_equal(a, b) for a, b in zip(numpy_state, np.random.get_state(), strict=True))


# Serialised and replayed


def test_it_survives_serialisation(image, spatial):
    for arguments in ({"policy": "gaussian(std=0.25)", "p": 0.75}, {"autoencoder": spatial, "policy": "slerp"}):
        compose = A.Compose([LatentAugment(**arguments)])
        again = A.from_dict(json.loads(json.dumps(A.to_dict(compose))))
        (one,), (other,) = compose.transforms, again.transforms
        assert type(other) is LatentAugment
        for name in ("autoencoder", "policy", "p"):
            assert getattr(one, name) == getattr(other, name)
    again = A.from_dict(A.to_dict(pipeline()))
    expected = pipeline()(image=image, sample_key=3)["image"]
    assert np.array_equal(again(image=image, sample_key=3)["image"], expected)


def test_it_survives_a_file(tmp_path, image):
    A.save(pipeline(policy="gaussian(std=0.3)"), tmp_path / "pipeline.json")
    again = A.load(tmp_path / "pipeline.json")
    expected = pipeline(policy="gaussian(std=0.3)")(image=image, sample_key=3)["image"]
    assert np.array_equal(again(image=image, sample_key=3)["image"], expected)


def test_a_replay_makes_the_same_image(image, digits):
    compose = A.ReplayCompose([LatentAugment(p=0.5)])
    compose.set_random_seed(3)
    applied = set()
    for _ in range(12):
        made = compose(image=image, label=2)
        applied.add(made["replay"]["transforms"][0]["applied"])
        replay = json.loads(json.dumps(made["replay"]))
        assert np.array_equal(A.ReplayCompose.replay(replay, image=image)["image"], made["image"])
    assert applied == {True, False}


# Workers


class Arrays(Dataset):
    """Digits through a pipeline; all items are one image if `same`."""

    def __init__(self, images, compose, *, keyed: bool, same: bool = False):
        self.images, self.compose, self.keyed, self.same = images, compose, keyed, same

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        key = {"sample_key": index} if self.keyed else {}
        return self.compose(image=self.images[0 if self.same else index], **key)["image"]


def load(dataset, workers: int, context: str | None = "fork", seed: int = 0, epochs: int = 1) -> list[bytes]:
    loader = DataLoader(
        dataset,
        batch_size=2,
        num_workers=workers,
        multiprocessing_context=context if workers else None,
        generator=torch.Generator().manual_seed(seed),
    )
    return [image.numpy().tobytes() for _ in range(epochs) for batch in loader for image in batch]


@pytest.fixture(scope="module")
def arrays(digits) -> np.ndarray:
    return digits.images[:8].permute(0, 2, 3, 1).numpy()


def test_a_sample_key_gives_the_same_in_any_number_of_workers(arrays):
    dataset = Arrays(arrays, pipeline(seed=None), keyed=True)
    rejected = load(dataset, 0)
    assert len(set(rejected)) == len(arrays)
    assert load(dataset, 1) == load(dataset, 2) == rejected
    assert load(dataset, 1, "spawn") == rejected


@pytest.mark.parametrize("seed", [None, 7])
def test_without_a_key_workers_and_epochs_differ(arrays, seed):
    """albumentations 2.0.8 repeats its parameters between forked workers and epochs."""
    images = load(Arrays(arrays, pipeline(seed=seed), keyed=False, same=True), 2, epochs=2)
    assert len(set(images)) == 2 * len(arrays)


def test_it_pickles(image):
    transform = LatentAugment(p=1.0)
    again = pickle.loads(pickle.dumps(transform))
    one, other = (A.Compose([each])(image=image, sample_key=1)["image"] for each in (transform, again))
    assert np.array_equal(one, other)


# Policies that need a reference set and labels


def test_policies_with_partners_take_a_pool_and_a_label(image, digits):
    transform = LatentAugment(policy="smote(k=3)", p=1.0)
    compose = A.Compose([transform])
    with pytest.raises(ReferenceSetError, match="fit"):
        compose(image=image, label=0)
    assert transform.fit(digits.subset(torch.arange(200))) is transform
    made = [compose(image=image, label=label, sample_key=1)["image"] for label in (0, 1)]
    assert made[0].shape == image.shape
    assert not np.array_equal(*made)
    with pytest.raises(ReferenceSetError, match="labels"):
        compose(image=image)
    assert np.array_equal(compose(image=image, label=np.int64(0), sample_key=1)["image"], made[0])


def test_classes_have_their_own_spread(image, digits):
    transform = LatentAugment(policy="class_gaussian", p=1.0).fit(digits)
    made = [A.Compose([transform])(image=image, label=label, sample_key=1)["image"] for label in (0, 1)]
    assert not np.array_equal(*made)


# Refused


def test_policies_that_mix_labels_are_refused():
    for policy in ("interpolate(same_class=False)", "one_of(gaussian, interpolate(same_class=False))"):
        with pytest.raises(InputError, match="mixes labels"):
            LatentAugment(policy=policy)
    assert LatentAugment(policy="interpolate").policy == "interpolate"


def test_images_that_do_not_fit_are_typed_errors(image, spatial):
    for given in (np.zeros((9, 8), np.uint8), np.zeros((8, 8, 3), np.uint8), np.zeros((16, 16, 1), np.float32)):
        with pytest.raises(ShapeError, match=r"takes (1-channel )?images \(B, 1, 8, 8\)"):
            pipeline("digits")(image=given)
    assert pipeline(spatial)(image=image)["image"].shape == image.shape  # an RGB network takes grey images
    with pytest.raises(RangeError, match=r"\[0, 1\]"):
        pipeline()(image=np.full((8, 8), 255, np.float32))
    with pytest.raises(RangeError, match="NaN"):
        pipeline()(image=np.full((8, 8), np.nan, np.float32))


def test_arguments_that_do_not_fit_are_refused(spatial):
    with pytest.raises(UnknownNameError, match="did you mean 'gaussian'"):
        LatentAugment(policy="gausian")
    with pytest.raises(UnknownNameError, match="did you mean 'digits'"):
        LatentAugment("digit")
    for arguments in ({"p": 1.5}, {"autoencoder": 3}, {"policy": None}):
        with pytest.raises(ValueError, match="validation error"):
            LatentAugment(**arguments)


def test_the_version_check_is_off_unless_asked_for():
    code = "import augmentor.albumentations, os; print(os.environ['NO_ALBUMENTATIONS_UPDATE'])"
    plain = {name: value for name, value in os.environ.items() if name != "NO_ALBUMENTATIONS_UPDATE"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=plain)
    assert run.stdout.strip() == "1"
