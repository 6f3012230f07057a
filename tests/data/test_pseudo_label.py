"""Unlabelled images get labels from a few labelled ones, or are refused."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

import augmentor
from augmentor import LatentAugment, MixedDataset, ShardDataset, generate_shards, load_autoencoder, pseudo_label
from augmentor.autoencoders import ConvVAE
from augmentor.data import ArrayDataset, confident_labels
from augmentor.exceptions import DataError, InputError, PseudoLabelError, RangeError, ShapeError, UnknownNameError
from augmentor.quality import load_features


def draw(digits, seed=0, count=5):
    """`count` labelled digits of each class, and the rest."""
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(seed))
    rows = torch.cat([order[digits.targets[order] == label][:count] for label in range(10)])
    return digits.subset(rows), digits.subset(order[~torch.isin(order, rows)])


@pytest.fixture(scope="module")
def few(digits):
    return draw(digits)[0]


@pytest.fixture(scope="module")
def many(digits):
    return draw(digits)[1]


@pytest.fixture(scope="module")
def made(few, many):
    return pseudo_label(few, many, "digits")


def truth(made, many) -> float:
    return float((made.targets[-len(made.rows) :] == many.targets[made.rows]).double().mean())


def latents(*sets) -> list[torch.Tensor]:
    model = load_autoencoder("digits")
    with torch.no_grad():
        return [model.stats.standardise(model.encode(data.images).mean) for data in sets]


def noise(images: torch.Tensor) -> torch.Tensor:
    """Features that know nothing of an image."""
    return torch.randn(len(images), 8, generator=torch.Generator().manual_seed(len(images)))


def same(made, other) -> None:
    torch.testing.assert_close(made.targets, other.targets)
    torch.testing.assert_close(made.rows, other.rows)
    torch.testing.assert_close(made.confidences, other.confidences)


# The labels


def test_the_surest_share_has_the_labels_of_scikit_learn_and_nearly_all_are_right(few, many, made):
    points = torch.cat(latents(few, many)).double().numpy()
    known = np.concatenate([few.targets.numpy(), np.full(len(many), -1)])
    model = LabelSpreading(kernel="knn", n_neighbors=10, alpha=0.9, max_iter=200).fit(points, known)
    probabilities = model.label_distributions_[len(few) :]
    rows = np.sort(np.argsort(-probabilities.max(1), kind="stable")[: round(0.8 * len(many))])
    assert made.rows.tolist() == rows.tolist()
    assert made.targets.tolist() == [*few.targets.tolist(), *model.classes_[probabilities[rows].argmax(1)].tolist()]
    np.testing.assert_allclose(made.confidences[len(few) :], probabilities[rows].max(1), rtol=1e-6)
    assert truth(made, many) > 0.9


def test_self_training_is_that_of_scikit_learn_on_standardised_features(few, many):
    made = pseudo_label(few, many, "digits", method="self_training", share=0.5)
    points = StandardScaler().fit_transform(torch.cat(latents(few, many)).double().numpy())
    known = np.concatenate([few.targets.numpy(), np.full(len(many), -1)])
    model = SelfTrainingClassifier(LogisticRegression(max_iter=1000)).fit(points, known)
    assert len(made.rows) == round(0.5 * len(many))
    assert made.targets[len(few) :].tolist() == model.predict(points[len(few) :][made.rows]).tolist()
    assert truth(made, many) > 0.95
    assert made.accuracy > 0.85


def test_the_surer_half_has_fewer_wrong_labels_and_is_part_of_the_rest(few, many, made):
    half = pseudo_label(few, many, "digits", share=0.5)
    assert set(half.rows.tolist()) < set(made.rows.tolist())
    assert truth(half, many) > truth(made, many)


def test_the_labels_are_the_same_again_and_nothing_is_drawn(few, many, made, global_rng_untouched):
    same(pseudo_label(few, many, "digits", seed=3), made)  # a seed is for the estimate alone
    assert pseudo_label(few, many, "digits").accuracy == made.accuracy


class _Secret(Dataset):
    """Images with labels that must not be looked at."""

    def __init__(self, images: torch.Tensor):
        self.images = images

    @property
    def targets(self):
        raise AssertionError("the labels were looked at")

    classes = targets

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], "no class number"


def test_labels_of_the_unlabelled_images_are_not_looked_at(few, many, made):
    found = pseudo_label(few, _Secret(many.images), "digits")
    same(found, made)
    assert torch.equal(found[len(few)][0], many.images[made.rows[0]])
    same(pseudo_label(few, many.images, "digits"), made)  # a tensor is a data set of images


def test_labelled_images_among_the_unlabelled_ones_get_their_own_label(digits, few):
    made = pseudo_label(few, digits, "digits", share=1.0)
    where = [int((digits.images == image).flatten(1).all(1).nonzero()[0]) for image in few.images]
    assert (made.targets[len(few) :][where] == few.targets).double().mean() > 0.95


# The estimate and the refusal


@pytest.mark.parametrize("method", ["label_spreading", "self_training"])
def test_the_estimate_is_close_to_the_truth(digits, method):
    errors = []
    for seed in range(5):
        few, many = draw(digits, seed, 10)
        found = pseudo_label(few, many, "digits", method=method)
        errors.append(found.accuracy - truth(found, many))
    assert max(map(abs, errors)) < 0.08
    assert -0.06 < sum(errors) / len(errors) < 0.02  # fewer labels are left: rather too low


def test_labels_from_features_that_know_nothing_are_refused(few, many):
    with pytest.raises(PseudoLabelError, match=r"of \d+ held-out labels.*expected at least 80 %.*min_accuracy=0"):
        pseudo_label(few, many, noise)
    anyway = pseudo_label(few, many, noise, min_accuracy=0)
    assert anyway.accuracy < 0.3
    assert truth(anyway, many) < 0.3


def test_a_class_of_one_label_cannot_be_checked_and_is_refused(few, many):
    rare = few.subset(torch.arange(len(few)) < 46)
    assert rare.targets.bincount()[9] == 1
    with pytest.raises(PseudoLabelError, match="only one label for class 9"):
        pseudo_label(rare, many, "digits")
    anyway = pseudo_label(rare, many, "digits", min_accuracy=0)
    assert anyway.accuracy is None
    assert "not estimated" in repr(anyway)


def test_what_no_label_reaches_gets_none(few):
    def far(images):  # the unlabelled images are a group of their own
        return images.flatten(1)[:, :8] + 100 * (images.mean((1, 2, 3)) > 0.99)[:, None]

    white = [torch.full((1, 8, 8), 1 - i / 10000) for i in range(40)]
    assert len(pseudo_label(few, white, far, min_accuracy=0)) == len(few)


# The data set


def test_what_it_says_of_itself(few, many, made):
    assert len(made) == len(few) + len(made.rows) == len(few) + round(0.8 * len(many))
    assert (made.targets.dtype, made.rows.dtype, made.confidences.dtype) == (torch.int64, torch.int64, torch.float32)
    assert made.targets[: len(few)].tolist() == few.targets.tolist()
    assert made.classes == few.classes
    assert made.confidences[: len(few)].unique().tolist() == [1]
    assert bool(((made.confidences > 0) & (made.confidences <= 1)).all())
    assert "50 labelled and 1398 of 1747 unlabelled images, 10 classes, estimated accuracy 0." in repr(made)


def test_labelled_images_come_first_in_any_order_of_reading(few, many, made):
    places = [len(few) + 3, 0, -1, len(few), 7]
    images, labels = zip(*made.__getitems__(places), strict=True)
    assert labels == tuple(made.targets[places].tolist())
    expected = [many.images[made.rows[3]], few.images[0], many.images[made.rows[-1]], many.images[made.rows[0]]]
    assert torch.equal(torch.stack(images), torch.stack([*expected, few.images[7]]))
    assert made[-1][1] == int(made.targets[-1])
    with pytest.raises(IndexError, match="outside a data set of 1448"):
        made[len(made)]


def test_it_goes_wherever_a_data_set_goes(made, tmp_path):
    images, labels = next(iter(DataLoader(made, batch_size=len(made), num_workers=1)))
    assert images.shape == (1448, 1, 8, 8)
    assert torch.equal(labels, made.targets)
    again = pickle.loads(pickle.dumps(made))
    same(again, made)
    assert torch.equal(again[1000][0], made[1000][0])
    assert Subset(made, [1000])[0][1] == int(made.targets[1000])
    augment = LatentAugment("digits", "class_gaussian").fit(made)
    assert len(augment.reference) == len(made)
    mixed = MixedDataset(made, augment, sampling_strategy="auto", seed=0)
    assert len(mixed) == 10 * int(made.targets.bincount().max())
    assert mixed[len(mixed) - 1][0].dtype == torch.uint8
    shards = ShardDataset(generate_shards(made, augment, tmp_path / "shards", num_samples=6))
    assert len(shards) == 6


def test_images_of_two_types_become_floats(few, many, made):
    floats = TensorDataset(many.images / 255, many.targets)
    for known, others in ((few, floats), (TensorDataset(few.images / 255, few.targets), many)):
        found = pseudo_label(known, others, "digits")
        same(found, made)
        assert {image.dtype for image, _ in found.__getitems__([0, 1000])} == {torch.float32}
        assert torch.equal(found[0][0], few.images[0] / 255)


def test_pictures_become_tensors(few, many):
    pictures = [(Image.fromarray(image[0].numpy()), label) for image, label in few.__getitems__(range(len(few)))]
    found = pseudo_label(pictures, many, "digits")
    assert torch.equal(found[0][0], few.images[0])


# The encoder


def test_an_autoencoder_by_name_file_and_object_and_its_latents_by_a_function_are_one(few, many, made, tmp_path):
    model = load_autoencoder("digits")
    model.save(tmp_path / "model.safetensors")
    same(pseudo_label(few, many, tmp_path / "model.safetensors"), made)
    same(pseudo_label(few, many, model), made)
    with torch.no_grad():
        same(pseudo_label(few, many, lambda images: model.stats.standardise(model.encode(images).mean)), made)


def test_an_autoencoder_without_statistics_gets_those_of_all_images_and_stays_as_it_is(few, many, vae):
    vae.stats = type(vae.stats)(vae.latent_shape)
    vae.train()
    before = copy.deepcopy(vae.state_dict())
    found = pseudo_label(few, many, vae)
    assert vae.training
    torch.testing.assert_close(vae.state_dict(), before, atol=0, rtol=0)
    fitted = copy.deepcopy(vae).eval()
    with torch.no_grad():
        fitted.stats.fit([fitted.encode(torch.cat([few.images, many.images])).mean])
    same(pseudo_label(few, many, fitted), found)


def test_a_feature_extractor_by_name_is_the_object(few, many):
    found = pseudo_label(few, many, "smallnet")
    same(pseudo_label(few, many, load_features("smallnet")), found)
    assert truth(found, many) > 0.9


def test_a_function_gets_floats_and_may_give_feature_maps(few, many):
    seen = []

    def encode(images):
        seen.append((images.dtype, float(images.max())))
        return images

    assert truth(pseudo_label(few, many, encode), many) > 0.85
    assert {dtype for dtype, _ in seen} == {torch.float32}
    assert max(high for _, high in seen) == 1


# What does not fit

GREY = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)


def images_of(*shape: int) -> list[torch.Tensor]:
    return [torch.zeros(shape, dtype=torch.uint8)] * 4


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"unlabelled": []}, DataError, "unlabelled has no images"),
        ({"labelled": []}, DataError, "labelled has no images"),
        ({"unlabelled": iter([])}, InputError, "unlabelled must be a map-style data set"),
        ({"labelled": list(GREY)}, DataError, "no labels"),
        ({"labelled": TensorDataset(GREY, torch.tensor([1, 1, 1, 1]))}, DataError, "at least 2 classes, got 1"),
        ({"labelled": TensorDataset(GREY, torch.tensor([0, 1, -1, 1]))}, DataError, "1 of 4 images in labelled"),
        ({"labelled": TensorDataset(GREY, torch.full((4, 2), 0.5))}, InputError, "one-hot or soft"),
        ({"unlabelled": images_of(1, 9, 9)}, ShapeError, r"image 0 of unlabelled has shape \(1, 9, 9\)"),
        ({"unlabelled": [*images_of(1, 8, 8), *images_of(3, 8, 8)]}, ShapeError, "image 4 of unlabelled has shape"),
        ({"unlabelled": GREY[None]}, ShapeError, r"expected images \(C,H,W\)"),
        ({"unlabelled": [GREY[0], GREY[0] / 255]}, InputError, "image 1 of unlabelled has dtype torch.float32"),
        ({"unlabelled": [GREY[0] + 7.0]}, RangeError, r"\[0, 1\]"),
        ({"encoder": "digit"}, UnknownNameError, "did you mean 'digits'"),
        ({"encoder": "mnist"}, ShapeError, "28"),
        ({"encoder": 3}, InputError, "got int"),
        ({"encoder": lambda images: images.mean()}, ShapeError, r"expected features \(\d+, D\)"),
        ({"encoder": lambda images: [1.0]}, InputError, "the encoder returned list"),
        ({"encoder": lambda images: images.flatten(1) / 0}, RangeError, "NaN or infinite"),
        ({"method": "spreading"}, UnknownNameError, "unknown method 'spreading'"),
        ({"share": 0}, InputError, "share"),
        ({"share": 1.1}, InputError, "share"),
        ({"min_accuracy": 1}, InputError, "min_accuracy"),
        ({"min_accuracy": float("nan")}, InputError, "min_accuracy"),
    ],
)
def test_what_does_not_fit_is_refused(few, many, arguments, error, said):
    given = {"labelled": few, "unlabelled": many, "encoder": "digits", **arguments}
    with pytest.raises(error, match=said):
        pseudo_label(given.pop("labelled"), given.pop("unlabelled"), given.pop("encoder"), **given)


def test_images_of_channels_that_the_encoder_does_not_take_are_refused(few, many):
    colour, more = (ArrayDataset(data.images.expand(-1, 3, -1, -1), data.targets) for data in (few, many))
    with pytest.raises(ShapeError, match="channel"):
        pseudo_label(colour, more, "digits")
    with pytest.raises(ShapeError, match="channel"):
        pseudo_label(few, more, ConvVAE((1, 8, 8), latent_dim=2, width=8))


def test_it_is_found_at_the_top():
    assert augmentor.pseudo_label is pseudo_label
    assert "pseudo_label" in augmentor.__all__


def test_a_loader_of_epochs_reaches_both_data_sets(few, many):
    told = []
    few, many = copy.copy(few), copy.copy(many)
    few.set_epoch = many.set_epoch = told.append
    pseudo_label(few, many, "digits").set_epoch(4)
    assert told == [4, 4]


def test_labels_that_a_classifier_does_not_agree_with_are_dropped(made, many):
    def classifier(images: torch.Tensor) -> torch.Tensor:
        """Right, except that every 3 is an 8 to it."""
        nearest = (images.flatten(1)[:, None] - many.images.flatten(1)[None] / 255).abs().sum(2).argmin(1)
        seen = many.targets[nearest]
        return 5.0 * torch.eye(10)[torch.where(seen == 3, 8, seen)]

    narrowed = made.agreeing(classifier)
    found, true = made.targets[-len(made.rows) :], many.targets[made.rows]
    agreed = found == torch.where(true == 3, 8, true)
    assert torch.equal(narrowed.rows, made.rows[agreed])
    assert torch.equal(narrowed.targets[-len(narrowed.rows) :], found[agreed])
    assert torch.equal(narrowed.confidences[-len(narrowed.rows) :], made.confidences[-len(made.rows) :][agreed])
    known = len(made) - len(made.rows)
    assert torch.equal(narrowed.targets[:known], made.targets[:known])
    image, label = narrowed[known]
    assert torch.equal(image, many.images[narrowed.rows[0]])
    assert label == narrowed.targets[known]
    assert narrowed.accuracy == made.accuracy
    assert len(made.rows) > len(narrowed.rows) > 0


def test_a_classifier_with_another_number_of_classes_is_refused(made):
    with pytest.raises(ShapeError, match=r"the classifier returned \(3,\) per image; expected \(10,\) logits"):
        made.agreeing(lambda images: torch.zeros(len(images), 3))


def test_a_confident_classifier_gives_its_labels(few, many):
    logits = torch.zeros(len(many), 10)
    logits[torch.arange(len(many)), many.targets] = torch.linspace(0, 9, len(many))
    calls = iter(logits.split(256))
    given = confident_labels(few, many, lambda images: next(calls), threshold=0.9)
    sure = logits.softmax(1).max(1).values
    assert torch.equal(given.rows, (sure >= 0.9).nonzero().flatten())
    assert torch.equal(given.targets[-len(given.rows) :], many.targets[given.rows])
    assert torch.equal(given.confidences[-len(given.rows) :], sure[given.rows])
    assert given.accuracy is None


def test_a_network_that_labels_is_left_as_it_was(few, many):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.BatchNorm1d(64), torch.nn.Linear(64, 10)).train()
    before = copy.deepcopy(network.state_dict())
    first, again = (confident_labels(few, many, network, threshold=0.2) for _ in range(2))
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(first.rows, again.rows)
