"""Extractors that are independent of any autoencoder: what they take, which is chosen, what their distances see."""

from __future__ import annotations

import io
import itertools
import json
import shutil

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits, load_sample_image
from torchvision.transforms.v2 import functional as v2

from augmentor._internal.pretrained import pretrained_folder
from augmentor.exceptions import InputError, RangeError, ShapeError, UnknownNameError, WeightsError
from augmentor.quality import (
    EfficientNetFeatures,
    InceptionFeatures,
    SmallNetFeatures,
    compare,
    efficientnet,
    evaluate,
    extract,
    frechet_joint_distance,
    independent_features,
    load_features,
    smallnet,
)

FOLDER = pretrained_folder() / "smallnet"
BLURS, NOISES = (0.5, 0.75, 1.0, 1.5, 2.0), (0.02, 0.05, 0.1, 0.15, 0.25)
QUALITIES, SHARES = (75, 50, 25, 10, 5), (0.1, 0.25, 0.5, 0.75, 1.0)


@pytest.fixture(scope="module")
def features():
    return SmallNetFeatures()


def digits(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 (1797,1,side,side) and classes."""
    images, labels = load_digits(return_X_y=True)
    images = v2.resize(torch.from_numpy(images).float().reshape(-1, 1, 8, 8) / 16, [side, side])
    return (255 * images).clamp(0, 255).byte(), torch.from_numpy(labels)


def photographs() -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 (480,3,64,64), pieces of two photographs, and from which of the six thirds each comes."""
    draw, pieces, labels = torch.Generator().manual_seed(0), [], []
    for number, name in enumerate(("china.jpg", "flower.jpg")):
        whole = torch.from_numpy(load_sample_image(name).copy()).permute(2, 0, 1)
        for third in range(3):
            tops = torch.randint(0, whole.shape[1] - 64, (80,), generator=draw)
            lefts = torch.randint(213 * third, 213 * third + 150, (80,), generator=draw)
            pieces += [whole[:, top : top + 64, left : left + 64] for top, left in zip(tops, lefts, strict=True)]
            labels += 80 * [3 * number + third]
    order = torch.randperm(len(labels), generator=draw)
    return torch.stack(pieces)[order], torch.tensor(labels)[order]


def blurred(images: torch.Tensor, width: int, sigma: float) -> torch.Tensor:
    """Rows and columns in turn, which is faster."""
    rows = v2.gaussian_blur(images, [width, 1], [sigma] * 2)
    return v2.gaussian_blur(rows, [1, width], [sigma] * 2)


def compressed(images: torch.Tensor, quality: int) -> torch.Tensor:
    """The images (uint8) after JPEG."""
    made = []
    for image in images:
        file = io.BytesIO()
        v2.to_pil_image(image).save(file, "JPEG", quality=quality)
        made.append(v2.pil_to_tensor(Image.open(file)))
    return torch.stack(made)


DATA = {"digits 8": lambda: digits(8), "digits 32": lambda: digits(32), "photographs 64": photographs}


def rises(values) -> bool:
    return all(low < high for low, high in itertools.pairwise(values))


# --- what the distances see


@pytest.fixture(scope="module", params=DATA)
def halves(request, features):
    """Real images and labels, other ones to be spoilt, and the features of the real ones."""
    images, labels = DATA[request.param]()
    half = min(160, len(labels) // 2)
    real, given = (images[:half], labels[:half]), (images[half : 2 * half], labels[half : 2 * half])
    return real, given, extract(features, real[0])


def test_the_distance_rises_with_what_is_wrong_with_images(halves, features):
    (_, _), (images, _), known = halves
    side = images.shape[-1]
    scale = max(1, side / 32)
    width = 2 * min(int(6 * scale) + 1, side - 1) + 1
    torch.manual_seed(0)
    spoilt = {
        "blur": [blurred(images, width, scale * sigma) for sigma in BLURS],
        "noise": [v2.gaussian_noise(images.float() / 255, sigma=sigma) for sigma in NOISES],
        "JPEG": [compressed(images, quality) for quality in QUALITIES],
    }
    for what, sets in spoilt.items():
        found = [compare(extract(features, made), known) for made in sets]
        assert rises([scores["fid"] for scores in found]), what
        assert rises([scores["kid"] for scores in found]), what


def test_the_distance_rises_with_every_class_that_is_left_out(halves, features):
    (_, _), (images, labels), known = halves
    made, classes = extract(features, images), len(labels.unique())
    kept = [round(classes * share) for share in (1, 0.8, 0.65, 0.5, 0.3)] + [1]
    found = []
    for count in kept:
        rows = (labels < count).nonzero()[:, 0]
        rows = rows.repeat(-(-len(labels) // len(rows)))[: len(labels)]  # as many images, whatever is left out
        found.append(compare(made[rows], known)["fid"])
    assert rises(found)


def test_the_joint_distance_rises_with_the_share_of_shuffled_labels(halves, features):
    (_, real_labels), (images, labels), known = halves
    made, order = extract(features, images), torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    found = [frechet_joint_distance(made, labels, known, real_labels)]
    for share in SHARES:
        shuffled, rows = labels.clone(), order[: round(share * len(labels))]
        shuffled[rows] = labels[rows.roll(1)]
        found.append(frechet_joint_distance(made, shuffled, known, real_labels))
    assert rises(found)


def test_evaluate_takes_labels_and_they_have_to_fit(features):
    images, labels = digits(8)
    images, labels = images[:120], labels[:120]
    right = evaluate(images[:60], images[60:], features, labels=(labels[:60], labels[60:]))
    wrong = evaluate(images[:60], images[60:], features, labels=(9 - labels[:60], labels[60:]))
    assert right["fid"] == wrong["fid"]
    assert right["fjd"] < wrong["fjd"]
    assert right["floor"]["fjd"] == wrong["floor"]["fjd"] > 0
    for bad in (labels[:59], labels[:60].float(), labels[:60, None], labels[:60] - 5):
        with pytest.raises(ShapeError, match="expected 60 class numbers of the generated images"):
            evaluate(images[:60], images[60:], features, labels=(bad, labels[60:]))


# --- what they take


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (32, 48), (96, 128), (200, 150)])
def test_any_size_grey_or_rgb(features, shape):
    grey = torch.rand(3, 1, *shape, generator=torch.Generator().manual_seed(0))
    found = features(grey)
    assert found.shape == (3, len(features.network.scale))
    assert found.isfinite().all()
    torch.testing.assert_close(found, features(grey.expand(-1, 3, -1, -1)))
    torch.testing.assert_close(found[1:2], features(grey[1:2]), rtol=1e-3, atol=1e-3)
    uint8 = (255 * grey).round().byte()
    assert torch.equal(features(uint8), features(uint8.float() / 255))


def test_other_images_are_refused(features):
    with pytest.raises(ShapeError, match=r"SmallNetFeatures takes images \(B, 1 or 3, H, W\), got \(2, 4, 8, 8\)"):
        features(torch.rand(2, 4, 8, 8))
    with pytest.raises(RangeError, match="values from"):
        features(255 * torch.rand(2, 3, 8, 8))


def test_loading_leaves_random_numbers_alone_and_gives_the_same_network(features):
    state, images = torch.get_rng_state(), torch.rand(2, 3, 32, 32)
    torch.set_rng_state(state)
    assert torch.equal(SmallNetFeatures()(images), features(images))
    EfficientNetFeatures()
    assert torch.equal(torch.get_rng_state(), state)


def test_the_weights_are_small_and_are_those_of_the_card(tmp_path, monkeypatch):
    assert (FOLDER / "model.safetensors").stat().st_size < 2_000_000
    card = json.loads((FOLDER / "card.json").read_text())
    assert card["sha256"] in (FOLDER / "card.md").read_text()
    shutil.copytree(FOLDER, tmp_path / "smallnet")
    monkeypatch.setattr(smallnet, "pretrained_folder", lambda: tmp_path)
    monkeypatch.setattr(smallnet, "_loaded", smallnet._loaded.__wrapped__)  # once in a process elsewhere
    SmallNetFeatures()
    weights = tmp_path / "smallnet" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-5] ^= 1
    weights.write_bytes(data)
    with pytest.raises(WeightsError, match=r"do not match their checksum.*install"):
        SmallNetFeatures()
    weights.unlink()
    with pytest.raises(WeightsError, match="are missing"):
        SmallNetFeatures()


def test_an_imagenet_network_sees_blur_too():
    images, _ = photographs()
    features, real = EfficientNetFeatures(), images[:24]
    known = extract(features, real)
    assert known.shape == (24, 320)
    found = [
        compare(extract(features, v2.gaussian_blur(images[24:48], [25, 25], [sigma] * 2)), known)["fid"]
        for sigma in (0.1, 2.0, 4.0)
    ]
    assert rises(found)
    torch.testing.assert_close(features(real[:2, :1]), features(real[:2, :1].repeat(1, 3, 1, 1)))


# --- which is chosen


def test_photographs_get_the_imagenet_network_where_it_is_installed(monkeypatch):
    for shape in ((3, 64, 64), (3, 200, 90)):
        assert independent_features(shape).name == "efficientnet-lite0"
    for shape in ((1, 64, 64), (3, 32, 32)):
        assert independent_features(shape).name == "smallnet"
    monkeypatch.setattr(efficientnet, "_PACKAGES", ("no_such_package",))
    assert independent_features((3, 64, 64)).name == "smallnet"
    with pytest.raises(InputError, match=r"pip install 'latent-augmentor\[photographs\]'"):
        EfficientNetFeatures()


def test_extractors_by_name():
    assert load_features("smallnet").name == "smallnet"
    assert load_features("efficientnet-lite0").name == "efficientnet-lite0"
    assert InceptionFeatures.name == "inception"
    with pytest.raises(UnknownNameError, match="did you mean 'smallnet'"):
        load_features("smalnet")


def test_damaged_imagenet_weights_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="are missing"):
        efficientnet._weights(tmp_path / "lite0-57934424.pth")
    (tmp_path / "lite0-57934424.pth").write_bytes(b"\x80\x02garbage")
    with pytest.raises(WeightsError, match="do not match the checksum in their name"):
        efficientnet._weights(tmp_path / "lite0-57934424.pth")
