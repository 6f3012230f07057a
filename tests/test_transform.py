"""`LatentAugment` as a torchvision transform: what goes in, what comes out, and what it leaves alone."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision import tv_tensors
from torchvision.transforms import v2

import augmentor.transform as transform_module
from augmentor._internal.random import SampleRandom, sample_keys
from augmentor.autoencoders import Autoencoder, SpatialKLAutoencoder, get_autoencoder
from augmentor.data import ArrayDataset
from augmentor.exceptions import (
    AugmentorWarning,
    DataError,
    DeviceError,
    InputError,
    RangeError,
    ReferenceSetError,
    ShapeError,
    UnknownNameError,
    WeightsError,
)
from augmentor.policies import get_policy
from augmentor.quality import QualityGate
from augmentor.transform import LatentAugment

COUNT = 16


@pytest.fixture
def levels(digits) -> torch.Tensor:
    return digits.images[:COUNT].clone()


@pytest.fixture
def images(levels) -> torch.Tensor:
    return levels.float() / 255


@pytest.fixture
def labels(digits) -> torch.Tensor:
    return digits.targets[:COUNT].clone()


def augmenter(vae: Autoencoder, policy: str = "gaussian(std=0.5)", **arguments) -> LatentAugment:
    return LatentAugment(vae, policy, **{"p": 1.0, "seed": 0, **arguments})


# --- what an image may be


@pytest.mark.parametrize(
    "kind", ["uint8", "float32", "float64", "float16", "tv uint8", "tv float32", "pil", "batch uint8", "batch float32",
             "batch tv"],
)  # fmt: skip
def test_an_image_comes_back_as_the_kind_it_was(vae, levels, kind):
    image = {
        "uint8": levels[0],
        "float32": levels[0] / 255,
        "float64": levels[0].double() / 255,
        "float16": (levels[0] / 255).half(),
        "tv uint8": tv_tensors.Image(levels[0]),
        "tv float32": tv_tensors.Image(levels[0] / 255),
        "pil": Image.fromarray(levels[0, 0].numpy()),
        "batch uint8": levels,
        "batch float32": levels / 255,
        "batch tv": tv_tensors.Image(levels),
    }[kind]
    out = augmenter(vae)(image)
    assert type(out) is type(image) or isinstance(out, Image.Image)
    if isinstance(image, torch.Tensor):
        assert out.shape == image.shape
        assert out.dtype == image.dtype
        assert out.device == image.device
        assert not torch.equal(out, image)
    else:
        assert (out.mode, out.size) == (image.mode, image.size)
        assert np.asarray(out).tobytes() != np.asarray(image).tobytes()


def test_all_kinds_of_one_image_get_the_same_result(vae, levels):
    augment = augmenter(vae)
    expected = augment(levels[0]).float()
    others = [
        augment(levels[0] / 255) * 255,
        augment(tv_tensors.Image(levels[0])).as_subclass(torch.Tensor).float(),
        torch.from_numpy(np.array(augment(Image.fromarray(levels[0, 0].numpy()))))[None].float(),
        augment(levels)[0].float(),
    ]
    for other in others:
        assert (other - expected).abs().max() <= 1


def test_rgb_images_of_any_size_work_with_a_feature_map_autoencoder():
    augment = augmenter(SpatialKLAutoencoder(channels=3, width=8), "posterior")
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (37, 50, 3), dtype=np.uint8))
    assert augment(image).size == (50, 37)
    assert augment(torch.rand(2, 3, 9, 8)).shape == (2, 3, 9, 8)


@pytest.mark.parametrize("policy", ["gaussian", "smote"])
def test_an_empty_batch_passes(vae, levels, digits, policy):
    augment = augmenter(vae, policy).fit(digits)
    out, labels = augment(levels[:0], torch.zeros(0, dtype=torch.int64))
    assert out.shape == (0, 1, 8, 8)
    assert len(labels) == 0


# --- what a sample may be


def test_tuples_lists_and_dicts_keep_their_structure(vae, levels):
    augment = augmenter(vae)
    pair = augment((levels[0], 3))
    assert type(pair) is tuple
    assert pair[1] == 3
    triple = augment([levels[0], 3, "name"])
    assert type(triple) is list
    assert triple[1:] == [3, "name"]
    two = augment(levels, torch.arange(COUNT))
    assert type(two) is tuple
    nested = {"image": levels[0], "meta": {"label": 3, "path": "a.png"}}
    out = augment(nested)
    assert out["meta"] == nested["meta"]
    assert not torch.equal(out["image"], levels[0])


def test_masks_boxes_and_other_tensors_are_not_touched(vae, levels):
    sample = {
        "image": tv_tensors.Image(levels[0]),
        "mask": tv_tensors.Mask(torch.ones(1, 8, 8, dtype=torch.uint8)),
        "boxes": tv_tensors.BoundingBoxes([[0, 0, 4, 4], [1, 1, 2, 2]], format="XYXY", canvas_size=(8, 8)),
        "labels": torch.tensor([3, 5]),
        "depth": torch.rand(1, 8, 8),
        "score": 0.5,
        "name": "a.png",
        "nothing": None,
    }
    out = augmenter(vae)(sample)
    assert list(out) == list(sample)
    assert not torch.equal(out["image"], sample["image"])
    for key in sample.keys() - {"image"}:
        assert out[key] is sample[key], key


@pytest.mark.parametrize(
    "target",
    [
        tv_tensors.Mask(torch.ones(1, 8, 8)),
        tv_tensors.BoundingBoxes([[0, 0, 4, 4]], format="XYXY", canvas_size=(8, 8)),
        torch.ones(8, 8, dtype=torch.int64),
        0.7,
        torch.tensor([0.1, 0.2]),
        "seven",
        None,
        {"boxes": torch.zeros(1, 4), "labels": torch.tensor([1])},
    ],
    ids=["mask", "boxes", "plain mask", "regression", "keypoint", "text", "none", "detection"],
)
def test_targets_that_are_no_class_labels_pass(vae, levels, target):
    out, same = augmenter(vae)(levels[0], target)
    assert not torch.equal(out, levels[0])
    if isinstance(target, dict):
        assert same["labels"] is target["labels"]
    else:
        assert same is target


def test_of_plain_tensors_only_the_first_is_the_image(vae, images):
    first, second = images[:2]
    out = augmenter(vae)({"image": first, "target": second})
    assert not torch.equal(out["image"], first)
    assert out["target"] is second


def test_all_typed_images_of_a_sample_are_perturbed_alike(vae, levels):
    image = tv_tensors.Image(levels[0])
    out = augmenter(vae)({"a": image, "b": image.clone(), "plain": levels[0]})
    assert not torch.equal(out["a"], image)
    assert torch.equal(out["a"], out["b"])
    assert out["plain"] is not image
    assert torch.equal(out["plain"], levels[0])


@pytest.mark.parametrize("sample", [3, "x", {"label": 1}, (torch.zeros(3), 1), np.zeros((8, 8, 1)), []], ids=repr)
def test_a_sample_without_an_image_is_refused(vae, sample):
    with pytest.raises(InputError, match="found no image"):
        augmenter(vae)(sample)


def test_it_works_inside_compose_and_before_mixup(vae, levels, labels):
    pipeline = v2.Compose(
        [augmenter(vae), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5], [0.5]), v2.MixUp(num_classes=10)]
    )
    out, mixed = pipeline(levels, labels)
    assert out.shape == (COUNT, 1, 8, 8)
    assert mixed.shape == (COUNT, 10)
    single = v2.Compose([v2.ToImage(), augmenter(vae)])(Image.fromarray(levels[0, 0].numpy()))
    assert isinstance(single, tv_tensors.Image)


def test_soft_labels_of_a_policy_that_mixes_go_on_to_cutmix(vae, images, labels):
    augment = augmenter(vae, "interpolate(same_class=False, num_classes=10)")
    out, mixed = v2.Compose([augment, v2.CutMix()])(images, labels)
    assert out.shape == images.shape
    torch.testing.assert_close(mixed.sum(1), torch.ones(COUNT))


# --- chance


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_each_image_is_replaced_with_probability_p(vae, digits, p):
    images = digits.images[:1000]
    changed = (augmenter(vae, p=p)(images) != images).flatten(1).any(1)
    assert abs(float(changed.float().mean()) - p) < 0.05


def test_the_rows_that_chance_leaves_out_are_bit_for_bit_the_same(vae, images):
    augment = augmenter(vae, p=0.5)
    out = augment(images)
    chosen = SampleRandom(augment._keys(images)).bernoulli(0.5)
    assert 0 < chosen.sum() < COUNT
    assert torch.equal(out[~chosen], images[~chosen])
    assert (out[chosen] != images[chosen]).flatten(1).any(1).all()


def test_only_the_chosen_rows_are_encoded(vae, images):
    augment = augmenter(vae, p=0.25)
    seen = []
    encode = vae.encode
    vae.encode = lambda batch: seen.append(len(batch)) or encode(batch)
    out = augment(images)
    assert seen == [int((out != images).flatten(1).any(1).sum())]
    assert seen[0] < COUNT


@pytest.mark.parametrize("policy", ["interpolate", "smote(k=2)", "compose(gaussian, slerp)"])
def test_partners_are_sought_in_the_whole_batch_even_if_chance_picks_one_row(vae, digits, policy):
    same = digits.targets == 3
    images, labels = digits.images[same][:24].float() / 255, digits.targets[same][:24]
    augment = augmenter(vae, policy, p=0.05)
    counts = []
    for epoch in range(40):
        augment.set_epoch(epoch)
        out, _ = augment(images, labels)
        counts.append(int((out != images).flatten(1).any(1).sum()))
    assert 1 in counts


def test_the_input_is_not_modified(vae, images, levels, labels):
    kept, kept_levels, kept_labels = images.clone(), levels.clone(), labels.clone()
    augment = augmenter(vae, "interpolate(same_class=False, num_classes=10)")
    augment(images, labels)
    augment(levels, labels)
    augment.synthesize(images, labels)
    assert torch.equal(images, kept)
    assert torch.equal(levels, kept_levels)
    assert torch.equal(labels, kept_labels)


def test_the_global_generators_are_left_alone(vae, images, labels, digits, global_rng_untouched):
    before = np.random.get_state()[1].copy()
    augment = augmenter(vae, "compose(gaussian, smote)", seed=None).fit(digits)
    augment(images, labels)
    augment.synthesize(images, labels)
    assert (np.random.get_state()[1] == before).all()


# --- seeds


def test_with_a_seed_an_image_gets_the_same_result_in_any_batch(vae, levels):
    augment = augmenter(vae, seed=7)
    whole = augment(levels)
    for size in (1, 3, 7):
        parts = torch.cat([augment(levels[i : i + size]) for i in range(0, COUNT, size)])
        assert (parts.int() - whole.int()).abs().max() <= 1
    shuffled = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))
    assert (augment(levels[shuffled]).int() - whole[shuffled].int()).abs().max() <= 1
    singles = torch.stack([augment(image) for image in levels])
    assert (singles.int() - whole.int()).abs().max() <= 1


def test_other_seeds_and_epochs_give_other_results(vae, images):
    augment, other = augmenter(vae, seed=7), augmenter(copy.deepcopy(vae), seed=8)
    first = augment(images)
    assert torch.equal(augment(images), first)
    assert not torch.equal(other(images), first)
    augment.set_epoch(1)
    assert augment.epoch == 1
    assert not torch.equal(augment(images), first)
    augment.set_epoch(0)
    assert torch.equal(augment(images), first)


def test_without_a_seed_every_call_and_every_row_differs(vae, images):
    augment = augmenter(vae, seed=None)
    same = images[:1].expand(4, -1, -1, -1)
    rows = torch.cat([augment(same), augment(same), augmenter(copy.deepcopy(vae), seed=None)(same)])
    assert len(rows.unique(dim=0)) == len(rows)


def test_copies_without_a_seed_do_not_repeat_each_other(vae, images):
    augment = augmenter(vae, seed=None)
    augment(images)
    twins = copy.deepcopy(augment), pickle.loads(pickle.dumps(augment)), copy.copy(augment)
    results = [twin(images) for twin in twins] + [augment(images)]
    for i, first in enumerate(results):
        for second in results[i + 1 :]:
            assert not torch.equal(first, second)


@pytest.mark.parametrize("policy", ["gaussian", "smote", "class_gaussian", "one_of(gaussian, interpolate)"])
def test_deepcopy_and_pickle_give_an_equal_transform(vae, images, labels, digits, policy):
    augment = augmenter(vae, policy, seed=3).fit(digits)
    augment.set_epoch(2)
    expected, _ = augment(images, labels)
    for again in (copy.deepcopy(augment), pickle.loads(pickle.dumps(augment))):
        assert again.epoch == 2
        assert torch.equal(again(images, labels)[0], expected)
        again.set_epoch(5)
        assert augment.epoch == 2


# --- synthesize


def test_synthesize_replaces_every_image_whatever_p_is(vae, levels, images):
    with pytest.warns(AugmentorWarning):
        augment = augmenter(vae, p=0.0)
    out = augment.synthesize(images)
    assert out.shape == images.shape
    assert (out != images).flatten(1).any(1).all()
    assert augment.synthesize(levels).dtype == torch.uint8


def test_synthesize_depends_on_seed_epoch_index_and_copy_alone(vae, images):
    augment = augmenter(vae, seed=None)
    settings = {"indices": range(COUNT), "seed": 1, "epoch": 2, "draw_index": 3}
    first = augment.synthesize(images, **settings)
    augment.set_epoch(9)
    augment(images)
    assert torch.equal(augment.synthesize(images, **settings), first)
    reverse = augment.synthesize(images.flip(0), **{**settings, "indices": range(COUNT)[::-1]})
    torch.testing.assert_close(reverse.flip(0), first, atol=1e-5, rtol=0)
    for change in ({"seed": 2}, {"epoch": 3}, {"draw_index": 4}, {"indices": range(1, COUNT + 1)}):
        other = augment.synthesize(images, **{**settings, **change})
        assert (other != first).flatten(1).any(1).all(), change


def test_synthesize_takes_one_copy_number_an_image(vae, images):
    augment = augmenter(vae)
    same = images[:1].expand(3, -1, -1, -1)
    out = augment.synthesize(same, draw_index=[0, 1, 0])
    assert torch.equal(out[0], out[2])
    assert not torch.equal(out[0], out[1])


def test_synthesize_uses_the_noise_of_the_keys_bit_for_bit(vae, images):
    augment = augmenter(vae, "gaussian(std=0.5)", seed=1)
    noise = SampleRandom(sample_keys(1, 0, range(COUNT), 0)).normal(8)
    raw = vae.encode(images).mean
    z = vae.stats.standardise(raw) + 0.5 * noise
    expected = vae.decode(vae.stats.unstandardise(z), (8, 8))
    assert torch.equal(augment.synthesize(images, indices=range(COUNT)), expected)


def test_synthesize_refuses_numbers_that_do_not_match(vae, images, labels):
    augment = augmenter(vae)
    with pytest.raises(ShapeError, match="got 3 indices or copies for 16 images"):
        augment.synthesize(images, indices=range(3))
    with pytest.raises(ShapeError, match="got 3 labels for 16 images"):
        augment.synthesize(images, labels[:3])
    with pytest.raises(ShapeError, match="add or drop dimensions"):
        augment.synthesize(images[0])


# --- labels


@pytest.mark.parametrize("policy", ["gaussian", "posterior", "smote", "interpolate", "class_gaussian"])
def test_labels_are_the_same_object_unless_classes_mix(vae, images, labels, digits, policy):
    augment = augmenter(vae, policy).fit(digits)
    assert augment(images, labels)[1] is labels
    soft = nn.functional.one_hot(labels, 10).double()
    assert augment(images, soft)[1] is soft


@pytest.mark.parametrize("p", [0.0001, 0.5, 1.0])
def test_labels_of_mixing_policies_are_soft_for_all_rows(vae, images, labels, p):
    augment = augmenter(vae, "interpolate(same_class=False, num_classes=10)", p=p)
    out, soft = augment(images, labels)
    assert soft.dtype == torch.float32
    assert soft.shape == (COUNT, 10)
    torch.testing.assert_close(soft.sum(1), torch.ones(COUNT))
    untouched = (out == images).flatten(1).all(1)
    assert torch.equal(soft[untouched], nn.functional.one_hot(labels, 10).float()[untouched])


def test_the_number_of_classes_comes_from_the_fitted_pool(vae, images, labels, digits):
    augment = augmenter(vae, "interpolate(same_class=False)").fit(digits)
    out, soft = augment(images[0], int(labels[0]))
    assert soft.shape == (10,)
    assert out.shape == (1, 8, 8)


@pytest.mark.parametrize("kind", ["number", "tensor", "numpy", "dict"])
def test_a_single_image_gets_one_soft_label_in_its_place(vae, images, digits, kind):
    augment = augmenter(vae, "interpolate(same_class=False)").fit(digits)
    sample = {
        "number": (images[0], 3, 3),
        "tensor": (images[0], torch.tensor(3), 3),
        "numpy": (images[0], np.int64(3), 3),
        "dict": {"index": 3, "image": images[0], "label": 3},
    }[kind]
    out = augment(sample)
    soft, other = (out["label"], out["index"]) if kind == "dict" else out[1:]
    assert soft.shape == (10,)
    assert other == 3
    assert not isinstance(other, torch.Tensor)


def test_labels_of_a_batch_as_a_numpy_array_become_soft_too(vae, images, labels, digits):
    augment = augmenter(vae, "interpolate(same_class=False)").fit(digits)
    out, soft = augment(images, labels.numpy())
    assert soft.shape == (COUNT, 10)
    assert out.shape == images.shape


def test_soft_labels_with_nowhere_to_go_are_refused(vae, images, labels, digits):
    augment = augmenter(vae, "interpolate(same_class=False)").fit(digits)
    with pytest.raises(InputError, match="makes soft labels"):
        augment(images, labels.tolist())


def test_a_labels_getter_finds_labels_elsewhere_and_none_ignores_them(vae, images, labels, digits):
    def third(sample):
        return sample[2]

    augment = augmenter(vae, "interpolate(same_class=False)", labels_getter=third).fit(digits)
    out = augment(images, "names", labels)
    assert out[1] == "names"
    assert out[2].shape == (COUNT, 10)
    blind = augmenter(vae, "interpolate", labels_getter=None)
    assert blind(images, labels)[1] is labels


def test_labels_that_do_not_fit_the_images_are_refused(vae, images, labels):
    augment = augmenter(vae, "interpolate")
    with pytest.raises(ShapeError, match="got 15 labels for 16 images; expected one an image"):
        augment(images, labels[:15])
    with pytest.raises(InputError, match="expected class numbers"):
        augment(images, torch.rand(COUNT))


# --- gradients, modes, devices


@pytest.mark.parametrize("policy", ["gaussian(std=0.5)", "interpolate", "slerp", "posterior"])
def test_gradients_flow_to_the_input(vae, images, labels, policy):
    images.requires_grad_()
    out, _ = augmenter(vae, policy, p=0.5)(images, labels)
    out.square().sum().backward()
    assert images.grad.isfinite().all()
    assert (images.grad.flatten(1).abs().sum(1) > 0).all()
    assert all(parameter.grad is None for parameter in vae.parameters())


def test_without_a_need_for_gradients_there_is_no_graph(vae, images):
    assert not augmenter(vae)(images).requires_grad
    images.requires_grad_()
    with torch.no_grad():
        assert not augmenter(vae)(images).requires_grad


def test_its_results_can_be_trained_on(vae, images):
    layer = nn.Conv2d(1, 1, 3)
    layer(augmenter(vae)(images)).sum().backward()
    assert layer.weight.grad.isfinite().all()


def test_training_mode_of_an_owner_changes_nothing(vae, images):
    class Owner(nn.Module):
        def __init__(self, augment):
            super().__init__()
            self.augment, self.head = augment, nn.Linear(64, 10)

    # A module that behaves otherwise in training shows a mode that slipped through.
    vae.encoder.append(nn.Dropout(0.5))
    vae.eval()
    owner = Owner(augmenter(vae))
    expected = owner.augment(images)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    for _ in range(3):
        owner.train()
        assert owner.training
        assert not any(module.training for module in owner.augment.modules())
        assert torch.equal(owner.augment(images), expected)
    assert owner.augment.train() is owner.augment
    owner.augment.eval()
    for name, value in vae.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_autoencoder_is_frozen_and_travels_with_the_module(vae):
    vae.train().requires_grad_(True)
    owner = nn.Sequential(augmenter(vae), nn.Flatten(), nn.Linear(64, 2))
    assert not vae.training
    assert [name for name, p in owner.named_parameters() if p.requires_grad] == ["2.weight", "2.bias"]
    assert "0.autoencoder.stats.mean" in owner.state_dict()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("policy", ["gaussian(std=0.5)", "smote", "interpolate(same_class=False)", "class_gaussian"])
def test_converting_the_transform_converts_all_of_it(vae, images, labels, digits, dtype, policy):
    augment = augmenter(vae, policy).fit(digits)
    expected, _ = augment(images, labels)
    augment.to(dtype)
    assert {value.dtype for value in augment.state_dict().values()} <= {dtype, torch.bool}
    out, _ = augment(images, labels)
    assert out.dtype == torch.float32
    assert (out - expected).abs().mean() < (1e-3 if dtype == torch.float64 else 0.1)


def test_moving_the_transform_moves_the_autoencoder(vae):
    augment = augmenter(vae).to("meta")
    assert augment.device.type == "meta"
    assert {value.device.type for value in augment.state_dict().values()} == {"meta"}


def test_an_accelerator_inside_a_loader_worker_is_refused_with_advice(vae, images, monkeypatch):
    monkeypatch.setattr(transform_module, "get_worker_info", lambda: object())
    augment = augmenter(vae)
    assert augment(images).shape == images.shape  # on the CPU it may
    monkeypatch.setattr(LatentAugment, "device", torch.device("cuda"))
    with pytest.raises(DeviceError, match="inside a DataLoader worker; augment batches after the loader"):
        augment.perturb(images, None, SampleRandom(sample_keys(0, 0, range(COUNT))))


# --- fit


def test_fitting_takes_a_data_set_a_loader_or_batches(vae, digits, images, labels):
    part = digits.subset(torch.arange(300))
    tensors = TensorDataset(part.images, part.targets)
    results = []
    for data in (part, tensors, DataLoader(tensors, 64), [(part.images[:99], part.targets[:99]), (part.images[99:], part.targets[99:])]):  # fmt: skip  # noqa: E501
        augment = augmenter(copy.deepcopy(vae), "smote")
        assert augment.fit(data) is augment
        assert len(augment.reference) == 300
        results.append(augment(images, labels)[0])
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], atol=1e-5, rtol=0)


def test_fitting_takes_statistics_only_where_the_autoencoder_has_none(vae, digits):
    mean = vae.stats.mean.clone()
    augmenter(vae).fit(digits.subset(torch.arange(50)))
    assert torch.equal(vae.stats.mean, mean)
    vae.stats.fitted.fill_(False)
    augmenter(vae).fit(digits.subset(torch.arange(50)))
    assert bool(vae.stats.fitted)
    assert not torch.equal(vae.stats.mean, mean)


def test_fitting_on_latents_is_fitting_on_the_images_they_came_from(vae, digits, images, labels):
    of_images = augmenter(vae, "smote").fit(digits)
    with torch.no_grad():
        raw = torch.cat([vae.encode(part).mean for part in digits.images.split(256)])
    of_latents = augmenter(vae, "smote").fit_latents(raw, digits.targets, 10)
    assert torch.equal(of_latents(images, labels)[0], of_images(images, labels)[0])


def test_fitting_on_nothing_or_on_what_does_not_fit_is_refused(vae, digits):
    augment = augmenter(vae, "smote")
    with pytest.raises(DataError, match="empty"):
        augment.fit([])
    with pytest.raises(ShapeError, match="3 channels"):
        augment.fit([torch.rand(2, 3, 8, 8)])
    lonely = digits.subset(torch.cat([torch.nonzero(digits.targets == 1)[:5, 0], torch.nonzero(digits.targets == 2)[:1, 0]]))  # fmt: skip  # noqa: E501
    with pytest.raises(ReferenceSetError, match="class 2 has 1"):
        augment.fit(lonely)
    assert augment.reference is None
    images_of_sizes = [torch.rand(2, 1, 8, 8), torch.rand(2, 1, 16, 16)]
    with pytest.raises(DataError, match="different sizes"):
        LatentAugment(SpatialKLAutoencoder(channels=1, width=8)).fit(images_of_sizes)


def test_a_fitted_pool_serves_batches_of_one_and_single_images(vae, digits, images, labels):
    augment = augmenter(vae, "smote").fit(digits)
    whole = augment(images, labels)[0]
    one = augment(images[:1], labels[:1])[0]
    torch.testing.assert_close(one, whole[:1], atol=1e-5, rtol=0)
    single = augment(images[0], int(labels[0]))[0]
    torch.testing.assert_close(single, whole[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("policy", ["interpolate", "extrapolate", "slerp", "smote", "compose(gaussian, smote)"])
def test_a_batch_of_one_without_a_pool_is_refused_with_advice(vae, images, labels, policy):
    with pytest.raises(ReferenceSetError, match=r"call augment\.fit\(dataset\) first"):
        augmenter(vae, policy)(images[:1], labels[:1])
    with pytest.raises(ReferenceSetError, match=r"call augment\.fit\(dataset\) first"):
        augmenter(vae, policy)(images[0], int(labels[0]))


def test_class_gaussian_has_to_be_fitted(vae, images, labels):
    with pytest.raises(ReferenceSetError, match=r"class_gaussian is not fitted; call augment\.fit\(dataset\)"):
        augmenter(vae, "class_gaussian")(images, labels)


# --- arguments and inputs that are refused, settings that do nothing


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_a_p_that_is_no_probability_is_refused(vae, p):
    with pytest.raises(InputError, match="p is a probability between 0 and 1"):
        LatentAugment(vae, p=p)


def test_arguments_of_the_wrong_kind_are_refused(vae, tmp_path):
    with pytest.raises(UnknownNameError, match="unknown policy 'gausian'; did you mean 'gaussian'"):
        LatentAugment(vae, "gausian")
    with pytest.raises(InputError, match="expected a policy or a text"):
        LatentAugment(vae, None)
    with pytest.raises(InputError, match="labels_getter"):
        LatentAugment(vae, labels_getter="second")
    with pytest.raises(UnknownNameError, match="unknown autoencoder 'no_such_name'"):
        LatentAugment("no_such_name")
    with pytest.raises(WeightsError, match="does not exist"):
        LatentAugment(tmp_path / "none.safetensors")
    with pytest.raises(WeightsError, match="does not exist"):
        LatentAugment(str(tmp_path / "none.safetensors"))


def test_images_that_do_not_fit_are_refused(vae, images, levels):
    augment = augmenter(vae)
    with pytest.raises(ShapeError, match=r"LatentAugment with autoencoder 'vae' takes 1-channel images.*v2\.Grayscale"):
        augment(images.expand(-1, 3, -1, -1))
    with pytest.raises(ShapeError, match=r"v2\.Resize\(\(8, 8\)\)"):
        augment(torch.rand(1, 28, 28))
    with pytest.raises(RangeError, match=r"got values from 0 to 255"):
        augment(levels.float().clamp(max=255).index_fill(0, torch.tensor([0]), 255))
    with pytest.raises(RangeError, match="NaN"):
        augment(torch.full((1, 8, 8), float("nan")))
    with pytest.raises(InputError, match=r"got torch\.int64"):
        augment(levels.long())
    with pytest.raises(InputError, match="RGBA"):
        augment(Image.new("RGBA", (8, 8)))


def test_a_check_comes_also_where_chance_would_leave_the_image_alone(vae):
    with pytest.raises(RangeError):
        augmenter(vae, p=1e-9)(torch.full((1, 8, 8), 3.0))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"p": 0}, "p=0"),
        ({"policy": "gaussian(std=0)"}, r"gaussian\(std=0\)"),
        ({"policy": "slerp(strength=0)"}, "slerp"),
    ],
)
def test_settings_that_do_nothing_say_so_once(vae, images, labels, arguments, said):
    with pytest.warns(AugmentorWarning, match=f"{said}.*perturbs nothing") as caught:
        augment = LatentAugment(vae, **{"policy": "gaussian", **arguments})
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        augment(images, labels)


def test_usual_settings_say_nothing(vae):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LatentAugment(vae)


def test_the_text_of_the_transform_shows_its_settings(vae):
    text = repr(augmenter(vae, "smote(k=3)", p=0.5, seed=4))
    assert "policy=smote(k=3, strength=1.0), p=0.5, seed=4" in text


def test_a_path_and_an_object_of_the_same_weights_agree(vae, images, tmp_path):
    from augmentor._internal.weights import save_network

    save_network(vae, tmp_path / "mine.safetensors")
    expected = augmenter(vae)(images)
    for where in (tmp_path / "mine.safetensors", str(tmp_path / "mine.safetensors")):
        assert torch.equal(LatentAugment(where, p=1.0, seed=0)(images), expected)


def test_a_data_set_of_pil_images_can_be_fitted_on(vae, digits):
    class Pil:
        def __len__(self):
            return 20

        def __getitem__(self, index):
            image, label = digits[index]
            return Image.fromarray(image[0].numpy()), label

    of_pil = augmenter(vae, "smote(k=1)").fit(Pil())
    of_arrays = augmenter(vae, "smote(k=1)").fit(ArrayDataset(digits.images[:20], digits.targets[:20]))
    torch.testing.assert_close(of_pil.reference.z, of_arrays.reference.z)


def test_an_autoencoder_without_latent_statistics_is_said_once():
    augment = LatentAugment(get_autoencoder("vae").example(), p=1.0)
    images = torch.rand(4, 1, 8, 8)
    with pytest.warns(AugmentorWarning, match="no latent statistics"):
        augment(images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        augment(images)


def test_fitting_gives_the_statistics_and_ends_the_warning():
    augment = LatentAugment(get_autoencoder("vae").example(), p=1.0).fit([(torch.rand(8, 1, 8, 8), None)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        augment(torch.rand(4, 1, 8, 8))


# --- a gate


@pytest.fixture(scope="module")
def gated(trained_vae, digits) -> LatentAugment:
    """Fitted once; tests take copies. So strong that samples pass, are drawn again and are left alone."""
    gate = QualityGate(redraws=2)
    return LatentAugment(copy.deepcopy(trained_vae), "gaussian(std=1.5)", p=1.0, seed=0, gate=gate).fit(digits)


def far(gated: LatentAugment) -> LatentAugment:
    """Every sample fails."""
    augment = copy.deepcopy(gated)
    augment.policy = get_policy("gaussian(std=50)")
    return augment


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16])
def test_what_the_gate_turns_away_is_the_real_image_to_the_bit(gated, levels, labels, dtype):
    images = levels if dtype == torch.uint8 else (levels / 255).to(dtype)
    augment = far(gated)
    out, same, weights = augment.synthesize(images, labels, return_weights=True)
    assert torch.equal(out, images)
    assert torch.equal(same, labels)
    assert not weights.any()
    assert torch.equal(augment(images, labels)[0], images)
    counts = augment.gate.counts
    assert (counts.samples, counts.drawn, counts.passed) == (2 * COUNT, 6 * COUNT, 0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_that_holds_in_other_precisions_of_the_network(gated, levels, dtype):
    assert torch.equal(far(gated).to(dtype).synthesize(levels), levels)


def test_weights_tell_which_images_were_replaced(gated, digits):
    augment = copy.deepcopy(gated)
    images, labels = digits.images[:200], digits.targets[:200]
    out, _, weights = augment.synthesize(images, labels, indices=range(200), return_weights=True)
    replaced = (out != images).flatten(1).any(1)
    assert torch.equal(weights, replaced.float())
    counts = augment.gate.counts
    assert counts.samples == 200
    assert counts.passed == int(weights.sum())
    assert 0 < counts.passed < 200 < counts.drawn
    plain = LatentAugment(augment.autoencoder, "gaussian").synthesize(images, return_weights=True)
    assert torch.equal(plain[1], torch.ones(200))


def test_the_gate_turns_away_what_is_off_class(gated, digits):
    """Labels that are wrong for the images: hardly any sample agrees with its label."""
    augment = copy.deepcopy(gated)
    augment.policy = get_policy("gaussian(std=0.5)")
    images, labels = digits.images[:200], digits.targets[:200]
    _, _, right = augment.synthesize(images, labels, seed=1, return_weights=True)
    _, _, wrong = augment.synthesize(images, (labels + 1) % 10, seed=1, return_weights=True)
    assert right.mean() > 0.8
    assert wrong.mean() < 0.1


def test_a_gated_sample_does_not_depend_on_its_batch(gated, digits):
    augment = copy.deepcopy(gated)
    images, labels = digits.images[:96], digits.targets[:96]
    whole, _, weights = augment.synthesize(images, labels, indices=range(96), return_weights=True)
    for size in (1, 7):
        parts = [
            augment.synthesize(images[at], labels[at], indices=range(96)[at], return_weights=True)
            for at in (slice(start, start + size) for start in range(0, 96, size))
        ]
        assert torch.equal(torch.cat([part[2] for part in parts]), weights)
        assert (torch.cat([part[0] for part in parts]).int() - whole.int()).abs().max() <= 1


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_copies_of_a_gated_transform_agree_and_count_alone(gated, images, labels, copied):
    first = copy.deepcopy(gated)
    second = copied(first)
    assert torch.equal(first(images, labels)[0], second(images, labels)[0])
    second(images, labels)
    assert second.gate.counts.samples == 2 * first.gate.counts.samples == 2 * COUNT


def test_a_gate_leaves_the_global_generators_alone(gated, images, labels, digits, global_rng_untouched):
    copy.deepcopy(gated).fit(digits.subset(torch.arange(60)))(images, labels)


def test_a_gate_without_real_images_asks_for_fit(vae, images, labels):
    augment = augmenter(vae, gate=QualityGate())
    assert augment.needs_fit
    with pytest.raises(ReferenceSetError, match=r"has seen none; call augment\.fit\(dataset\)"):
        augment(images, labels)
    with pytest.raises(InputError, match=r"gate is a QualityGate or None, got 0\.95"):
        augmenter(vae, gate=0.95)


def test_weights_have_no_place_in_a_transform(gated, images, labels):
    augment = copy.deepcopy(gated)
    augment.gate.action = "weigh"
    with pytest.raises(InputError, match=r"synthesize\(return_weights=True\), or AugmentedLoader"):
        augment(images, labels)
    out, _, weights = augment.synthesize(images, labels, return_weights=True)
    assert (out != images).flatten(1).any(1).all()
    assert 0 <= weights.min() < weights.max() <= 1


def test_an_empty_batch_passes_the_gate(gated, levels, labels):
    out, _, weights = copy.deepcopy(gated).synthesize(levels[:0], labels[:0], return_weights=True)
    assert out.shape == (0, 1, 8, 8)
    assert len(weights) == 0


@pytest.mark.parametrize("policy", ["smote(k=2)", "interpolate"])
def test_redraws_find_partners_in_the_whole_batch(gated, vae, digits, policy):
    """A gate that was fitted by itself, so that the transform has no reference set."""
    rows = (digits.targets == 3).nonzero()[:24, 0]
    augment = augmenter(vae, policy, gate=copy.deepcopy(gated.gate))
    _, labels, weights = augment.synthesize(digits.images[rows], digits.targets[rows], return_weights=True)
    assert augment.gate.counts.drawn > 24  # some were drawn again, at the end a few or one
    assert weights.any()
    assert (labels == 3).all()


def test_soft_labels_of_what_is_left_alone_are_its_own(vae, digits, images, labels):
    augment = augmenter(vae, "interpolate(same_class=False)", gate=QualityGate(redraws=1)).fit(digits)
    out, soft, weights = augment.synthesize(images, labels, return_weights=True)
    assert soft.shape == (COUNT, 10)
    rejected = weights == 0
    assert rejected.any()
    assert torch.equal(out[rejected], images[rejected])
    assert torch.equal(soft[rejected], nn.functional.one_hot(labels[rejected], 10).float())


def test_gradients_flow_through_gated_samples(gated, images, labels):
    images.requires_grad_()
    out, _, weights = copy.deepcopy(gated).synthesize(images, labels, return_weights=True)
    out.sum().backward()
    rejected = weights == 0
    assert torch.equal(images.grad[rejected], torch.ones_like(images)[rejected])
    assert (images.grad.flatten(1).abs().sum(1) > 0).all()


def test_the_text_shows_the_gate(gated):
    assert "gate=quality_gate(keep=0.95, k=3, redraws=2, action='redraw')" in repr(gated)
