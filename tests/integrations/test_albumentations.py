"""The albumentations transform: in pipelines, serialised, replayed, and in workers."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from augmentor.albumentations import A, LatentAugment
from augmentor.exceptions import InputError, RangeError, ReferenceSetError, ShapeError, UnknownNameError


@pytest.fixture(scope="module")
def image(digits) -> np.ndarray:
    """(8,8,1) uint8."""
    return digits.images[0].permute(1, 2, 0).numpy()


COLOUR = "natural"  # takes images of any size


def pipeline(*args, seed: int | None = 0, **kwargs) -> A.Compose:
    return A.Compose([LatentAugment(*args, **{"p": 1.0, **kwargs})], seed=seed)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1)])
def test_shape_and_dtype_stay_and_dtypes_agree(image, shape):
    whole = image.reshape(shape)
    made = {}
    for given, top in ((whole, 255), ((whole / 255).astype(np.float32), 1)):
        before = given.copy()
        made[top] = pipeline()(image=given, sample_key=1)["image"]
        assert (made[top].shape, made[top].dtype) == (shape, given.dtype)
        assert not np.array_equal(made[top], given)
        assert np.array_equal(given, before)
        assert 0 <= made[top].min() <= made[top].max() <= top
    assert np.abs(made[255] / 255 - made[1]).max() <= 0.5 / 255 + 1e-6


def test_colour_of_any_size():
    given = np.random.default_rng(0).integers(0, 256, (13, 18, 3), dtype=np.uint8)
    made = pipeline(COLOUR, "posterior(factor=2.0)")(image=given)["image"]
    assert (made.shape, made.dtype) == (given.shape, np.uint8)
    assert not np.array_equal(made, given)


def test_axes_are_not_mixed_up():
    """With next to no noise it is the autoencoder's reconstruction."""
    given = np.random.default_rng(0).random((16, 12, 3)).astype(np.float32)
    transform = LatentAugment(COLOUR, "gaussian(std=1e-5)", p=1.0)
    made = A.Compose([transform])(image=given)["image"]
    with torch.no_grad():
        expected = transform.augment.autoencoder(torch.from_numpy(given).permute(2, 0, 1)[None])
    assert expected.std() > 0.01
    np.testing.assert_allclose(made, expected[0].permute(1, 2, 0).numpy(), atol=1e-3)


def test_stacks_are_decoded_together_with_noise_of_their_own(image):
    same = np.repeat(image[None], 4, axis=0)
    made = pipeline()(images=same)["images"]
    assert (made.shape, made.dtype) == (same.shape, np.uint8)
    assert len({one.tobytes() for one in made}) == 4
    assert pipeline()(volume=same)["volume"].shape == same.shape


def test_in_a_pipeline_with_others_other_targets_pass(image):
    compose = A.Compose([A.HorizontalFlip(p=0.0), LatentAugment(p=1.0), A.Normalize(mean=0.5, std=0.5)], seed=1)
    mask = (image > 0).astype(np.uint8)
    made = compose(image=image, mask=mask, label=3)
    assert np.array_equal(made["mask"], mask)
    assert made["label"] == 3


def test_the_seed_of_the_pipeline_decides_and_nothing_global_is_drawn_from(image, digits, global_rng_untouched):
    def run(seed):
        compose = pipeline(seed=seed)
        return [compose(image=image)["image"].tobytes() for _ in range(5)]

    before = np.random.get_state()
    assert run(7) == run(7) != run(8)
    assert len({*run(7), *run(8), *run(None)}) == 15
    assert all(np.array_equal(a, b) for a, b in zip(before, np.random.get_state(), strict=True))


def test_a_sample_key_decides_alone(image):
    one = pipeline(seed=1)(image=image, sample_key=4)["image"]
    other = pipeline(seed=2)
    other(image=image)
    assert np.array_equal(one, other(image=image, sample_key=np.int64(4))["image"])
    assert len({other(image=image, sample_key=key)["image"].tobytes() for key in range(10)}) == 10


def test_it_survives_serialisation_files_and_pickling(image, tmp_path):
    arguments = {"autoencoder": COLOUR, "policy": "gaussian(std=0.25)", "p": 0.75, "residual": 0.5}
    again = A.from_dict(json.loads(json.dumps(A.to_dict(A.Compose([LatentAugment(**arguments)])))))
    assert type(again[0]) is LatentAugment
    assert {name: getattr(again[0], name) for name in arguments} == arguments

    compose = pipeline(policy="gaussian(std=0.3)")
    A.save(compose, tmp_path / "pipeline.json")
    # The public path, so that what is saved does not depend on where the class lives.
    assert '"augmentor.albumentations.LatentAugment"' in (tmp_path / "pipeline.json").read_text()
    expected = compose(image=image, sample_key=3)["image"]
    for copied in (A.load(tmp_path / "pipeline.json"), pickle.loads(pickle.dumps(compose))):
        assert np.array_equal(copied(image=image, sample_key=3)["image"], expected)


def test_a_replay_makes_the_same_image(image):
    compose = A.ReplayCompose([LatentAugment(p=0.5)])
    compose.set_random_seed(3)
    applied = set()
    for _ in range(12):
        made = compose(image=image, label=2)
        applied.add(made["replay"]["transforms"][0]["applied"])
        replay = json.loads(json.dumps(made["replay"]))
        assert np.array_equal(A.ReplayCompose.replay(replay, image=image)["image"], made["image"])
    assert applied == {True, False}


class Arrays(Dataset):
    """Eight digits through a pipeline; all items are one image if not `keyed`."""

    def __init__(self, digits, compose, *, keyed: bool):
        self.images, self.compose, self.keyed = digits.images[:8].permute(0, 2, 3, 1).numpy(), compose, keyed

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        key = {"sample_key": index} if self.keyed else {}
        return self.compose(image=self.images[index if self.keyed else 0], **key)["image"]


def load(dataset, workers: int, context: str = "fork", epochs: int = 1) -> list[bytes]:
    loader = DataLoader(
        dataset, batch_size=2, num_workers=workers, multiprocessing_context=context if workers else None,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    return [image.numpy().tobytes() for _ in range(epochs) for batch in loader for image in batch]


@pytest.mark.slow
def test_a_sample_key_gives_the_same_in_any_number_of_workers(digits):
    dataset = Arrays(digits, pipeline(seed=None), keyed=True)
    alone = load(dataset, 0)
    assert len(set(alone)) == 8
    assert load(dataset, 2) == load(dataset, 1, "spawn") == alone


@pytest.mark.parametrize("seed", [None, 7])
def test_without_a_key_workers_and_epochs_differ(digits, seed):
    """albumentations 2.0.8 repeats its parameters between forked workers and epochs."""
    images = load(Arrays(digits, pipeline(seed=seed), keyed=False), 2, epochs=2)
    assert len(set(images)) == 16


def test_some_policies_take_a_reference_set_and_a_label(image, digits):
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


def test_arguments_that_do_not_fit_are_typed_errors():
    with pytest.raises(InputError, match="mixes labels"):
        LatentAugment(policy="one_of(gaussian, interpolate(same_class=False))")
    with pytest.raises(UnknownNameError, match="did you mean 'gaussian'"):
        LatentAugment(policy="gausian")
    for arguments in ({"p": 1.5}, {"autoencoder": 3}, {"policy": None}):
        with pytest.raises(ValueError, match="validation error"):
            LatentAugment(**arguments)


def test_images_that_do_not_fit_are_typed_errors(image):
    for given in (np.zeros((9, 8), np.uint8), np.zeros((8, 8, 3), np.uint8)):
        with pytest.raises(ShapeError, match=r"takes (1-channel )?images \(B, 1, 8, 8\)"):
            pipeline("digits")(image=given)
    assert pipeline(COLOUR)(image=image)["image"].shape == image.shape  # an RGB network takes grey images
    for value in (255, np.nan):
        with pytest.raises(RangeError, match=r"\[0, 1\]"):
            pipeline()(image=np.full((8, 8), value, np.float32))
