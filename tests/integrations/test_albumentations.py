"""The albumentations transform: in pipelines, serialised, replayed, and in workers."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from augmentor.albumentations import A, LatentAugment
from augmentor.exceptions import (
    AugmentorWarning,
    InputError,
    RangeError,
    ReferenceSetError,
    ShapeError,
    UnknownNameError,
    WeightsError,
)


@pytest.fixture(scope="module")
def image(digits) -> np.ndarray:
    """(8,8,1) uint8."""
    return digits.images[0].permute(1, 2, 0).numpy()


COLOUR = "natural"  # takes images of any size


def pipeline(*args, seed: int | None = 0, **kwargs) -> A.Compose:
    return A.Compose([LatentAugment(*(args or ("digits",)), **{"p": 1.0, **kwargs})], seed=seed)


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


def test_one_call_draws_once_for_all_images_and_frames(image):
    """As albumentations does it: one set of parameters a call."""
    other = np.ascontiguousarray(image[::-1])
    compose = A.Compose([LatentAugment(p=1.0)], additional_targets={"image2": "image", "image3": "image"}, seed=0)
    made = compose(image=image, image2=image, image3=other)
    assert np.array_equal(made["image2"], made["image"])
    for target in ("images", "volume"):
        frames = pipeline()(**{target: np.stack([image, image, other])}, sample_key=1)[target]
        assert (frames.shape, frames.dtype) == ((3, 8, 8, 1), np.uint8)
        for frame, given in zip(frames, (image, image, other), strict=True):
            alone = pipeline()(image=given, sample_key=1)["image"]
            assert np.abs(frame.astype(int) - alone).max() <= 1
    grey = np.stack([image[..., 0]] * 2)
    assert pipeline()(volumes=grey[None])["volumes"].shape == (1, 2, 8, 8)
    assert [frame.shape for frame in pipeline()(images=list(grey))["images"]] == [(8, 8)] * 2


def test_in_a_pipeline_with_others_other_keywords_pass(image):
    compose = A.Compose([A.HorizontalFlip(p=0.0), LatentAugment(p=1.0), A.Normalize(mean=0.5, std=0.5)], seed=1)
    made = compose(image=image, label="three", name="a.png")
    assert (made["label"], made["name"]) == ("three", "a.png")


def test_a_strict_pipeline_knows_the_keywords(image):
    compose = A.Compose([LatentAugment(p=1.0)], strict=True)
    assert compose(image=image, label=3, sample_key=1)["label"] == 3


PLACED = {
    "mask": np.zeros((8, 8), np.uint8),
    "masks": [np.zeros((8, 8), np.uint8)],
    "bboxes": np.array([[1, 1, 4, 4, 0]], np.float32),
    "keypoints": np.array([[1, 2]], np.float32),
    "mask2": np.zeros((8, 8), np.uint8),
}


def with_targets(*args, **kwargs) -> A.Compose:
    return A.Compose(
        [A.HorizontalFlip(p=0.0), LatentAugment(*args, **{"p": 1.0, **kwargs})], additional_targets={"mask2": "mask"},
        bbox_params=A.BboxParams("pascal_voc"), keypoint_params=A.KeypointParams("xy"),
    )  # fmt: skip


@pytest.mark.parametrize("name", PLACED)
def test_masks_boxes_and_keypoints_need_a_policy_that_keeps_geometry(image, name):
    given = {"image": image, name: PLACED[name]}
    for compose in (with_targets("digits"), with_targets(COLOUR, "gaussian", p=0.5)):
        with pytest.raises(InputError, match=rf"got {name}, .* moves objects in the image.* 'smooth'"):
            compose(**given)
        assert compose(image=image, **({name: None} if name in ("mask", "mask2") else {}))["image"].shape == (8, 8, 1)
    for policy in ("smooth(std=0.25)", "auto"):
        made = with_targets(COLOUR, policy)(**given)
        np.testing.assert_array_equal(made[name], PLACED[name])
        assert not np.array_equal(made["image"], image)


def test_the_seed_of_the_pipeline_decides_and_nothing_global_is_drawn_from(image, digits, global_rng_untouched):
    def run(seed):
        compose = pipeline(seed=seed)
        return [compose(image=image)["image"].tobytes() for _ in range(5)]

    before = np.random.get_state()
    assert run(7) == run(7) != run(8)
    assert len({*run(7), *run(8), *run(None)}) == 15
    assert all(np.array_equal(a, b) for a, b in zip(before, np.random.get_state(), strict=True))


def test_two_transforms_of_a_seeded_pipeline_do_not_repeat_each_other(image):
    """albumentations 2.0.8 gives the transforms of a pipeline with a seed equal generators."""
    compose = A.Compose([LatentAugment(p=1.0), LatentAugment(p=1.0)], seed=3, save_applied_params=True)
    first, second = (params["key"] for _, params in compose(image=image)["applied_transforms"])
    assert first != second


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


def test_a_weights_file_and_the_residual_survive_in_another_folder(vae, image, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    vae.save("weights.safetensors")
    (tmp_path / "elsewhere").mkdir()
    compose = A.Compose([LatentAugment(Path("weights.safetensors"), "gaussian(std=0.3)", p=1.0, residual=0.5)])
    A.save(compose, "elsewhere/pipeline.json")
    expected = compose(image=image, sample_key=3)["image"]
    monkeypatch.chdir("elsewhere")
    assert np.array_equal(A.load("pipeline.json")(image=image, sample_key=3)["image"], expected)
    (tmp_path / "weights.safetensors").unlink()
    with pytest.raises(WeightsError, match="does not exist"):
        A.load("pipeline.json")


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


def test_a_policy_with_reference_samples_is_not_replayed(image, digits):
    transform = LatentAugment(policy="smote(k=3)", p=1.0).fit(digits.subset(torch.arange(200)))
    replay = A.ReplayCompose([transform])(image=image, label=0)["replay"]
    with pytest.raises(ReferenceSetError, match=r"a replay does not store; .* sample_key="):
        A.ReplayCompose.replay(replay, image=image)


def test_the_parameters_of_a_call_are_known(image):
    compose = A.Compose([LatentAugment(p=1.0)], save_applied_params=True)
    ((name, params),) = compose(image=image, sample_key=5)["applied_transforms"]
    again = compose(image=image, sample_key=5)["applied_transforms"]
    assert name == "LatentAugment"
    assert json.loads(json.dumps(params))["key"] == again[0][1]["key"]


class Arrays(Dataset):
    """Eight digits through a pipeline. way: "same" gives one image for all, "keyed" and "seeded" the index with it."""

    def __init__(self, digits, compose, way: str):
        self.images, self.compose, self.way = digits.images[:8].permute(0, 2, 3, 1).numpy(), compose, way

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        if self.way == "same":
            return self.compose(image=self.images[0])["image"]
        if self.way == "seeded":
            self.compose.set_random_seed(index)
        return self.compose(image=self.images[index], **({"sample_key": index} if self.way == "keyed" else {}))["image"]


def load(dataset, workers: int, context: str = "fork", epochs: int = 1) -> list[bytes]:
    loader = DataLoader(
        dataset, batch_size=2, num_workers=workers, multiprocessing_context=context if workers else None,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    return [image.numpy().tobytes() for _ in range(epochs) for batch in loader for image in batch]


@pytest.mark.slow
@pytest.mark.parametrize(("way", "workers", "context"), [("keyed", 1, "spawn"), ("seeded", 2, "fork")])
def test_a_number_of_each_sample_gives_the_same_in_any_number_of_workers(digits, way, workers, context):
    """A `sample_key`, or the pipeline's seed set for each sample."""
    dataset = Arrays(digits, pipeline(seed=None), way)
    alone = load(dataset, 0)
    assert len(set(alone)) == 8
    assert load(dataset, workers, context) == alone


@pytest.mark.parametrize("seed", [None, 7])
def test_workers_and_epochs_differ(digits, seed):
    """albumentations 2.0.8 repeats its parameters between forked workers and epochs."""
    images = load(Arrays(digits, pipeline(seed=seed), "same"), 2, epochs=2)
    assert len(set(images)) == 16


def test_the_choice_with_probability_p_differs_between_workers_and_epochs(digits, image):
    images = load(Arrays(digits, pipeline(seed=7, p=0.5), "same"), 2, epochs=6)
    untouched = torch.tensor([one == image.tobytes() for one in images]).reshape(6, 4, 2)
    assert 12 <= untouched.sum() <= 36
    assert len({tuple(epoch.flatten().tolist()) for epoch in untouched}) > 3
    batches = untouched.reshape(6, 2, 2, 2)  # (epoch, step, worker, place)
    assert not torch.equal(batches[:, :, 0], batches[:, :, 1])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_repeats_where_the_pipeline_and_torch_are_seeded(digits, workers):
    def run(torch_seed, seed=7):
        torch.manual_seed(torch_seed)
        loader = DataLoader(
            Arrays(digits, pipeline(seed=seed, p=0.5), "same"), batch_size=2, num_workers=workers,
            multiprocessing_context="fork" if workers else None,
        )  # fmt: skip
        return [image.numpy().tobytes() for _ in range(2) for batch in loader for image in batch]

    assert run(1) == run(1) != run(1, seed=8)
    assert (run(1) == run(2)) == (workers == 0)


def test_some_policies_take_a_reference_set_and_a_label(image, digits):
    transform = LatentAugment(policy="smote(k=3)", p=1.0)
    compose = A.Compose([transform])
    arrays, labels = digits.images[:200].permute(0, 2, 3, 1).numpy(), digits.targets[:200]
    assert transform.fit(digits.subset(torch.arange(200))) is transform
    reference = transform.augment.reference.z
    for form in (arrays, arrays[..., 0], (arrays / 255).astype(np.float32)):
        transform.fit(form, labels=labels.tolist())
        torch.testing.assert_close(transform.augment.reference.z, reference, atol=1e-4, rtol=0)
    made = [compose(image=image, label=label, sample_key=1)["image"] for label in (0, np.int64(1))]
    assert made[0].shape == image.shape
    assert not np.array_equal(*made)
    with pytest.raises(ReferenceSetError, match="labels"):
        compose(image=image)
    with pytest.raises(InputError, match=r"got labels .*cat.*; expected class numbers"):
        compose(image=image, label="cat")


def test_a_label_may_be_a_row(image, digits):
    """Partners are those of the same set of labels."""
    arrays, numbers = digits.images[:200].permute(0, 2, 3, 1).numpy(), digits.targets[:200]
    rows = torch.nn.functional.one_hot(numbers, 10).float().numpy()
    given = {"image": arrays[0], "sample_key": 1}
    by_number = LatentAugment(policy="smote(k=3)", p=1.0).fit(arrays, numbers)(label=int(numbers[0]), **given)
    by_row = LatentAugment(policy="smote(k=3)", p=1.0).fit(arrays, rows)(label=rows[0], **given)
    assert np.array_equal(by_number["image"], by_row["image"])
    assert not np.array_equal(by_row["image"], arrays[0])


@pytest.mark.parametrize("fitted", [True, False])
@pytest.mark.parametrize("label", [-100, -1, 77])
def test_an_image_without_a_partner_stays_as_it_is(digits, fitted, label):
    transform = LatentAugment(policy="smote(k=3)", p=1.0)
    if fitted:
        transform.fit(digits.subset(torch.arange(200)))
    levels = np.arange(256, dtype=np.uint8).reshape(4, 8, 8, 1)
    images = [*levels, *(levels / 255).astype(np.float32), *levels / 255]
    with pytest.warns(AugmentorWarning, match="found no partner") as caught:
        made = [transform(image=given, label=label)["image"] for given in images]
    assert len(caught) == 1
    assert [(one.dtype, one.tobytes()) for one in made] == [(given.dtype, given.tobytes()) for given in images]


def test_arguments_that_do_not_fit_are_typed_errors():
    with pytest.raises(InputError, match="mixes labels"):
        LatentAugment(policy="one_of(gaussian, interpolate(same_class=False))")
    with pytest.raises(UnknownNameError, match="did you mean 'gaussian'"):
        LatentAugment(policy="gausian")
    for arguments in ({"p": 1.5}, {"autoencoder": 3}, {"policy": None}):
        with pytest.raises(ValueError, match="validation error"):
            LatentAugment(**arguments)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (np.zeros((9, 8), np.uint8), ShapeError, r"\(8, 8, 1\) here, got \(H,W,C\) \(9, 8, 1\); put A.Resize\(8"),
        (np.zeros((8, 8, 3), np.uint8), ShapeError, r"A.ToGray\(num_output_channels=1"),
        (np.zeros((8, 8, 4), np.uint8), ShapeError, r"if the fourth channel is alpha: .* pass image\[..., :3\]"),
        (np.zeros((2, 8, 8, 1), np.uint8), ShapeError, r"\(H,W\) or \(H,W,C\), got \(2, 8, 8, 1\)"),
        (np.zeros((8, 8), np.uint16), InputError, r"got uint16; put A.ToFloat\(max_value=...\)"),
        (np.full((8, 8), 255, np.float32), RangeError, r"from 255 to 255; put it before A.Normalize"),
        (np.full((8, 8), np.nan, np.float32), RangeError, r"\[0, 1\], got values from nan .*np\.nan_to_num"),
    ],
)  # fmt: skip
def test_images_that_do_not_fit_are_typed_errors(given, error, message):
    with pytest.raises(error, match=message):
        pipeline("digits")(image=given)


def test_an_rgb_network_takes_grey_images_and_no_alpha(image):
    assert pipeline(COLOUR)(image=image)["image"].shape == image.shape
    with pytest.raises(ShapeError, match=r"images \(any, any, 3\) here, got .* alpha"):
        pipeline(COLOUR)(image=np.zeros((16, 16, 4), np.uint8))


def test_floats_pass_after_the_line_that_the_message_gives():
    x = np.linspace(-1000, 3000, 64, dtype=np.float32).reshape(8, 8)
    for scaled_by in (A.NoOp(), A.ToFloat(max_value=3000)):  # which leaves floats as they are
        with pytest.raises(RangeError, match="ToFloat scales only integers") as caught:
            A.Compose([scaled_by, LatentAugment("digits", p=1.0)])(image=x)
    line = str(caught.value).rpartition("here ")[2]
    assert pipeline("digits")(image=eval(line))["image"].shape == x.shape


def test_sixteen_bits_pass_after_the_conversion_that_the_message_names():
    given = np.random.default_rng(0).integers(0, 1 << 16, (8, 8, 1), dtype=np.uint16)
    made = A.Compose([A.ToFloat(max_value=65535), LatentAugment("digits", p=1.0)])(image=given)["image"]
    assert (made.shape, made.dtype) == ((8, 8, 1), np.float32)
