"""`LatentAugment` as a torchvision transform: what goes in, what comes out, and what it does not touch."""

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

from augmentor import LatentAugment, QualityGate
from augmentor._internal.random import SampleRandom, sample_keys
from augmentor.autoencoders import Autoencoder, SpatialKLAutoencoder, get_autoencoder
from augmentor.exceptions import (
    AugmentorWarning,
    DataError,
    DeviceError,
    InputError,
    RangeError,
    ShapeError,
    UnknownNameError,
    WeightsError,
)

COUNT = 16
MIXES_CLASSES = "interpolate(same_class=False)"


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


def changed(out: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Which rows differ, bool (B,)."""
    return (out != images).flatten(1).any(1)


def within_a_level(out: torch.Tensor, expected: torch.Tensor) -> bool:
    return bool((out.int() - expected.int()).abs().max() <= 1)


# --- what an image may be

KINDS = {
    "uint8": lambda levels: levels[0],
    "float32": lambda levels: levels[0] / 255,
    "float64": lambda levels: levels[0].double() / 255,
    "float16": lambda levels: (levels[0] / 255).half(),
    "tv uint8": lambda levels: tv_tensors.Image(levels[0]),
    "tv float32": lambda levels: tv_tensors.Image(levels[0] / 255),
    "pil": lambda levels: Image.fromarray(levels[0, 0].numpy()),
    "batch uint8": lambda levels: levels,
    "batch float32": lambda levels: levels / 255,
    "batch tv": lambda levels: tv_tensors.Image(levels),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_comes_back_as_the_kind_it_was_and_all_kinds_get_the_same_result(vae, levels, kind):
    augment, image = augmenter(vae), KINDS[kind](levels)
    out = augment(image)
    assert type(out) is type(image)
    if isinstance(image, Image.Image):
        assert (out.mode, out.size) == (image.mode, image.size)
        out = torch.from_numpy(np.array(out))[None]
    else:
        assert (out.shape, out.dtype, out.device) == (image.shape, image.dtype, image.device)
    of_levels = (out[0] if "batch" in kind else out).as_subclass(torch.Tensor).float()
    of_levels = of_levels * 255 if out.is_floating_point() else of_levels
    expected = augment(levels[0])
    assert (of_levels - expected.float()).abs().max() <= 1
    assert not torch.equal(expected, levels[0])


# --- what a sample may be


def test_tuples_lists_and_dicts_keep_their_structure(vae, levels):
    augment = augmenter(vae)
    pair, listed, nested = (levels[0], 3), [levels[0], 3, "name"], {"image": levels[0], "meta": {"label": 3}}
    for sample in (pair, listed):
        out = augment(sample)
        assert type(out) is type(sample)
        assert out[1:] == sample[1:]
    out = augment(nested)
    assert out["meta"] == nested["meta"]
    assert not torch.equal(out["image"], levels[0])
    assert type(augment(levels, torch.arange(COUNT))) is tuple


def test_only_the_image_of_a_sample_is_touched(vae, levels):
    sample = {
        "image": tv_tensors.Image(levels[0]),
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


def test_of_plain_tensors_the_first_is_the_image_and_of_typed_ones_all_are(vae, levels):
    out = augmenter(vae)({"image": levels[0], "target": levels[1]})
    assert not torch.equal(out["image"], levels[0])
    assert torch.equal(out["target"], levels[1])
    image = tv_tensors.Image(levels[0])
    out = augmenter(vae)({"a": image, "b": image.clone(), "plain": levels[0]})
    assert not torch.equal(out["a"], image)
    assert torch.equal(out["a"], out["b"])
    assert torch.equal(out["plain"], levels[0])


@pytest.mark.parametrize("sample", [3, {"label": 1}, (torch.zeros(3), 1), np.zeros(8), []], ids=repr)
def test_a_sample_without_an_image_is_refused(vae, sample):
    with pytest.raises(InputError, match="found no image"):
        augmenter(vae)(sample)


def test_it_works_inside_compose_before_mixup(vae, levels, labels):
    steps = [
        augmenter(vae),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.5], [0.5]),
        v2.MixUp(num_classes=10),
    ]
    out, mixed = v2.Compose(steps)(levels, labels)
    assert out.shape == (COUNT, 1, 8, 8)
    assert mixed.shape == (COUNT, 10)
    assert v2.Compose([v2.PILToTensor(), augmenter(vae)])(Image.fromarray(levels[0, 0].numpy())).shape == (1, 8, 8)


# --- probability


def test_each_image_is_replaced_with_probability_p(vae, digits):
    images = digits.images[:1000]
    assert abs(float(changed(augmenter(vae, p=0.2)(images), images).float().mean()) - 0.2) < 0.05


def test_only_the_chosen_rows_are_encoded_and_the_others_are_the_same_to_the_bit(vae, images):
    everywhere, seen, encode, half = augmenter(vae)(images), [], vae.encode, augmenter(vae, p=0.5)
    half.look_at(images)  # the first images are looked at, all of them
    vae.encode = lambda batch: seen.append(len(batch)) or encode(batch)
    out = half(images)
    chosen = changed(out, images)
    assert seen == [int(chosen.sum())]
    assert 0 < seen[0] < COUNT
    torch.testing.assert_close(out[chosen], everywhere[chosen], atol=1e-5, rtol=0)


def test_reference_samples_are_those_of_the_whole_batch_even_if_one_row_is_chosen(vae, digits):
    rows = (digits.targets == 3).nonzero()[:24, 0]
    images, labels = digits.images[rows] / 255, digits.targets[rows]
    augment, counts = augmenter(vae, "compose(gaussian, smote(k=2))", p=0.05), []
    for epoch in range(40):
        augment.set_epoch(epoch)
        counts.append(int(changed(augment(images, labels)[0], images).sum()))
    assert 1 in counts


def test_neither_the_input_nor_the_generator_of_numpy_is_touched_nor_with_a_seed_that_of_torch(
    vae, images, levels, labels, global_rng_untouched
):
    given = images, levels, labels
    kept, numpys = [value.clone() for value in given], np.random.get_state()[1].copy()
    augment = augmenter(vae, "interpolate(same_class=False, num_classes=10)", seed=3)
    augment(images, labels)
    augment(levels, labels)
    augment.synthesize(images, labels)
    assert all(torch.equal(value, before) for value, before in zip(given, kept, strict=True))
    assert (np.random.get_state()[1] == numpys).all()


# --- seeds


def test_with_a_seed_an_image_gets_the_same_result_in_any_batch(vae, levels):
    augment = augmenter(vae, seed=7)
    whole = augment(levels)
    for size in (1, 7):
        parts = torch.cat([augment(levels[i : i + size]) for i in range(0, COUNT, size)])
        assert within_a_level(parts, whole)
    shuffled = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))
    assert within_a_level(augment(levels[shuffled]), whole[shuffled])
    assert within_a_level(torch.stack([augment(image) for image in levels]), whole)


def test_other_seeds_and_epochs_give_other_results(vae, images):
    augment = augmenter(vae, seed=7)
    first = augment(images)
    assert torch.equal(augment(images), first)
    assert changed(augmenter(copy.deepcopy(vae), seed=8)(images), first).all()
    augment.set_epoch(1)
    assert changed(augment(images), first).all()
    for twin in (copy.deepcopy(augment), pickle.loads(pickle.dumps(augment))):
        assert torch.equal(twin(images), augment(images))
        twin.set_epoch(0)
        assert (twin.epoch, augment.epoch) == (0, 1)
        assert torch.equal(twin(images), first)


def test_without_a_seed_every_call_row_and_copy_differs(vae, images):
    augment, same = augmenter(vae, seed=None), images[:1].expand(4, -1, -1, -1)
    used = [augment(same), augment(same)]
    copies = copy.deepcopy(augment), pickle.loads(pickle.dumps(augment)), copy.copy(augment)
    rows = torch.cat([*used, augment(same), *(twin(same) for twin in copies)])
    assert len(rows.unique(dim=0)) == len(rows) == 24


# --- synthesize


def test_synthesize_replaces_every_image_whatever_p_is(vae, levels, images):
    with pytest.warns(AugmentorWarning):
        augment = augmenter(vae, p=0.0)
    assert changed(augment.synthesize(images), images).all()
    assert augment.synthesize(levels).dtype == torch.uint8


def test_synthesize_depends_on_seed_epoch_index_and_draw_index_alone(vae, images):
    augment = augmenter(vae, seed=None)
    settings = {"indices": range(COUNT), "seed": 1, "epoch": 2, "draw_index": 3}
    first = augment.synthesize(images, **settings)
    augment.set_epoch(9)
    augment(images)
    assert torch.equal(augment.synthesize(images, **settings), first)
    reverse = augment.synthesize(images.flip(0), **{**settings, "indices": range(COUNT)[::-1]})
    torch.testing.assert_close(reverse.flip(0), first, atol=1e-5, rtol=0)
    for change in ({"seed": 2}, {"epoch": 3}, {"draw_index": 4}, {"indices": range(1, COUNT + 1)}):
        assert changed(augment.synthesize(images, **{**settings, **change}), first).all(), change
    mixed = augment.synthesize(images, **{**settings, "draw_index": [3, 4] * (COUNT // 2)})
    assert changed(mixed, first).tolist() == [False, True] * (COUNT // 2)


def test_synthesize_uses_the_noise_of_the_keys_bit_for_bit(vae, images):
    noise = SampleRandom(sample_keys(1, 0, range(COUNT), 0)).normal(8)
    z = vae.stats.standardise(vae.encode(images).mean) + 0.5 * noise
    expected = vae.decode(vae.stats.unstandardise(z), (8, 8))
    assert torch.equal(augmenter(vae, seed=1).synthesize(images, indices=range(COUNT)), expected)


def test_synthesize_refuses_numbers_that_do_not_match(vae, images, labels):
    augment = augmenter(vae)
    for arguments in ({"images": images, "indices": range(3)}, {"images": images, "labels": labels[:3]},
                      {"images": images[0]}):  # fmt: skip
        with pytest.raises(ShapeError):
            augment.synthesize(**arguments)


# --- labels


def test_labels_are_the_same_object_unless_classes_mix(vae, images, labels, digits):
    augment = augmenter(vae, "smote").fit(digits)
    for given in (labels, nn.functional.one_hot(labels, 10).double()):
        assert augment(images, given)[1] is given


@pytest.mark.parametrize("p", [0.0001, 0.5])
def test_labels_of_mixing_policies_are_soft_for_all_rows(vae, images, labels, p):
    out, soft = augmenter(vae, "interpolate(same_class=False, num_classes=10)", p=p)(images, labels)
    assert (soft.dtype, soft.shape) == (torch.float32, (COUNT, 10))
    torch.testing.assert_close(soft.sum(1), torch.ones(COUNT))
    kept = ~changed(out, images)
    assert torch.equal(soft[kept], nn.functional.one_hot(labels, 10).float()[kept])


@pytest.mark.parametrize("label", [3, torch.tensor(3), np.int64(3)], ids=["number", "tensor", "numpy"])
def test_a_single_image_gets_one_soft_label_in_its_place(vae, images, digits, label):
    augment = augmenter(vae, MIXES_CLASSES).fit(digits)
    _, soft, other = augment(images[0], label, 3)
    assert soft.shape == (10,)
    assert other == 3
    out = augment({"index": 3, "image": images[0], "label": label})
    assert out["label"].shape == (10,)
    assert isinstance(out["index"], int)


def test_soft_labels_take_the_place_of_an_array_and_not_of_a_list(vae, images, labels, digits):
    augment = augmenter(vae, MIXES_CLASSES).fit(digits)
    assert augment(images, labels.numpy())[1].shape == (COUNT, 10)
    with pytest.raises(InputError, match="makes soft labels"):
        augment(images, labels.tolist())


def test_a_labels_getter_finds_labels_elsewhere_and_none_ignores_them(vae, images, labels, digits):
    augment = augmenter(vae, MIXES_CLASSES, labels_getter=lambda sample: sample[2]).fit(digits)
    _, name, soft = augment(images, "names", labels)
    assert name == "names"
    assert soft.shape == (COUNT, 10)
    assert augmenter(vae, "interpolate", labels_getter=None)(images, labels)[1] is labels


def test_labels_that_do_not_fit_the_images_are_refused(vae, images, labels):
    augment = augmenter(vae, "interpolate")
    with pytest.raises(ShapeError, match="got 15 labels for 16 images"):
        augment(images, labels[:15])
    with pytest.raises(InputError, match="expected class numbers"):
        augment(images, torch.rand(COUNT))


# --- gradients, modes, devices


def test_gradients_flow_to_the_input_and_to_no_weights(vae, images, labels):
    images.requires_grad_()
    augmenter(vae, "slerp", p=0.5)(images, labels % 2)[0].square().sum().backward()
    assert images.grad.isfinite().all()
    assert (images.grad.flatten(1).abs().sum(1) > 0).all()
    assert all(parameter.grad is None for parameter in vae.parameters())


def test_without_a_need_for_gradients_there_is_no_graph(vae, images):
    augment, layer = augmenter(vae), nn.Conv2d(1, 1, 3)
    out = augment(images)
    assert not out.requires_grad
    layer(out).sum().backward()  # what was made can be trained on
    assert layer.weight.grad.isfinite().all()
    with torch.no_grad():
        assert not augment(images.requires_grad_()).requires_grad


def test_the_autoencoder_is_frozen_and_in_eval_mode_whatever_its_owner_does(vae, images):
    vae.encoder.append(nn.Dropout(0.5))  # shows a training mode that slipped through
    vae.train().requires_grad_(True)
    augment = augmenter(vae)
    expected, before = augment(images), copy.deepcopy(vae.state_dict())
    owner = nn.Sequential(augment, nn.Flatten(), nn.Linear(64, 2))
    assert list(owner.state_dict()) == ["2.weight", "2.bias"]
    assert [name for name, p in owner.named_parameters() if p.requires_grad] == ["2.weight", "2.bias"]
    owner.train()
    assert owner.training
    assert augment.train() is augment
    assert not any(module.training for module in augment.modules())
    assert torch.equal(augment(images), expected)
    assert all(torch.equal(value, before[name]) for name, value in vae.state_dict().items())


@pytest.mark.parametrize(
    ("dtype", "policy"),
    [(torch.float64, "smote"), (torch.bfloat16, "class_gaussian"), (torch.bfloat16, MIXES_CLASSES)],
    ids=str,
)
def test_converting_the_transform_converts_all_of_it(vae, images, labels, digits, dtype, policy):
    augment = augmenter(vae, policy).fit(digits)
    expected, _ = augment(images, labels)
    augment.to(dtype)
    assert {value.dtype for value in augment.autoencoder.state_dict().values()} <= {dtype, torch.bool}
    out, _ = augment(images, labels)
    assert out.dtype == torch.float32
    assert (out - expected).abs().mean() < (1e-3 if dtype == torch.float64 else 0.1)


def test_an_accelerator_inside_a_loader_worker_is_refused_with_advice(vae, images, monkeypatch):
    monkeypatch.setattr("augmentor._internal.transfer.get_worker_info", lambda: object())
    augment = augmenter(vae)
    assert augment(images).shape == images.shape  # on the CPU it may
    augment.to("meta")
    assert {augment.device.type, *(value.device.type for value in augment.state_dict().values())} == {"meta"}
    with pytest.raises(DeviceError, match="augment batches after the loader"):
        augment(images)


# --- fit


def test_fitting_takes_a_data_set_a_loader_batches_or_their_latents(vae, digits, images, labels):
    part = digits.subset(torch.arange(300))
    tensors = TensorDataset(part.images, part.targets)
    pil = [(Image.fromarray(image[0].numpy()), int(label)) for image, label in zip(*tensors.tensors, strict=True)]
    made = []
    for data in (part, DataLoader(tensors, 64), [tensors[:99], tensors[99:]], pil):
        augment = augmenter(copy.deepcopy(vae), "smote")
        assert augment.fit(data) is augment
        assert len(augment.reference) == 300
        made.append(augment(images, labels)[0])
    with torch.no_grad():
        raw = vae.encode(part.images).mean
    made.append(augmenter(vae, "smote").fit_latents(raw, part.targets, 10)(images, labels)[0])
    for other in made[1:]:
        torch.testing.assert_close(other, made[0], atol=1e-5, rtol=0)


def test_fitting_takes_statistics_only_where_the_autoencoder_has_none(vae, digits):
    mean = vae.stats.mean.clone()
    augmenter(vae).fit(digits.subset(torch.arange(50)))
    assert torch.equal(vae.stats.mean, mean)
    vae.stats.fitted.fill_(False)
    augmenter(vae).fit(digits.subset(torch.arange(50)))
    assert bool(vae.stats.fitted)
    assert not torch.equal(vae.stats.mean, mean)


def test_fitting_on_nothing_or_on_what_does_not_fit_is_refused(vae, digits):
    augment = augmenter(vae, "smote")
    for data, error, said in (([], DataError, "empty"), ([torch.rand(2, 3, 8, 8)], ShapeError, "3 channels")):
        with pytest.raises(error, match=said):
            augment.fit(data)
    assert augment.reference is None
    with pytest.raises(DataError, match="different sizes"):
        augmenter(SpatialKLAutoencoder(channels=1, width=8)).fit([torch.rand(2, 1, 8, 8), torch.rand(2, 1, 16, 16)])


def test_a_fitted_reference_set_serves_batches_of_one_and_single_images(vae, digits, images, labels):
    augment = augmenter(vae, "smote").fit(digits)
    whole = augment(images, labels)[0]
    torch.testing.assert_close(augment(images[:1], labels[:1])[0], whole[:1], atol=1e-5, rtol=0)
    torch.testing.assert_close(augment(images[0], int(labels[0]))[0], whole[0], atol=1e-5, rtol=0)


# --- arguments and inputs that are refused, settings that do nothing


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"p": -0.1}, InputError, "p is"),
        ({"residual": float("nan")}, InputError, "residual must be"),
        ({"gate": 0.95}, InputError, "QualityGate"),
        ({"policy": "gausian"}, UnknownNameError, "did you mean 'gaussian'"),
        ({"policy": None}, InputError, "policy"),
        ({"labels_getter": "second"}, InputError, "labels_getter"),
        ({"autoencoder": "no_such_name"}, UnknownNameError, "'no_such_name'"),
        ({"autoencoder": "none.safetensors"}, WeightsError, "does not exist"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(vae, arguments, error, said):
    with pytest.raises(error, match=said):
        LatentAugment(**{"autoencoder": vae, **arguments})


@pytest.mark.parametrize("p", [1.0, 1e-9])
def test_images_that_do_not_fit_are_refused_whether_they_would_be_replaced_or_not(vae, images, levels, p):
    for wrong, error, said in (
        (images.expand(-1, 3, -1, -1), ShapeError, r"v2\.Grayscale"),
        (torch.rand(1, 28, 28), ShapeError, r"v2\.Resize\(\(8, 8\)\)"),
        (images * 255, RangeError, "0 to 25"),
        (torch.full((1, 8, 8), float("nan")), RangeError, "NaN"),
        (levels.long(), InputError, "int64"),
    ):
        with pytest.raises(error, match=said):
            augmenter(vae, p=p)(wrong)


@pytest.mark.parametrize(
    ("arguments", "said"), [({"p": 0}, "p=0"), ({"policy": "slerp(strength=0)"}, "slerp"), ({}, None)]
)
def test_settings_that_do_nothing_say_so_once(vae, images, labels, arguments, said):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        augment = LatentAugment(vae, **{"policy": "gaussian", **arguments})
        augment(images, labels % 2)
    assert len(caught) == (said is not None)
    for warning in caught:
        assert (warning.category, warning.filename) == (AugmentorWarning, __file__)
        assert f"{said}" in str(warning.message)


def test_the_text_of_the_transform_shows_its_settings(vae):
    text = repr(augmenter(vae, "smote(k=3)", p=0.5, seed=4, residual=1, gate=QualityGate(redraws=2)))
    assert text == (
        "LatentAugment('vae', 'smote(k=3, strength=1.0)', p=0.5, seed=4, residual=1.0, "
        "gate=quality_gate(keep=0.95, k=3, redraws=2, action='redraw'))"
    )
    assert repr(LatentAugment(p=1.0)) == "LatentAugment('auto', 'auto', p=1.0, seed=None)"


def test_a_file_and_the_object_that_was_saved_there_agree(vae, images, tmp_path):
    path = tmp_path / "mine.safetensors"
    vae.save(path)
    for name in (path, str(path)):
        assert torch.equal(augmenter(name)(images), augmenter(vae)(images))


def test_an_autoencoder_without_latent_statistics_is_named_once_and_never_after_fitting():
    augment, images = augmenter(get_autoencoder("vae").example()), torch.rand(8, 1, 8, 8)
    fitted = augmenter(get_autoencoder("vae").example()).fit([(images, None)])
    with pytest.warns(AugmentorWarning, match="no latent statistics"):
        augment(images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        augment(images)
        fitted(images)
