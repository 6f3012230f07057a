"""``augmentor pseudo-label``: what it writes every other command reads; what it refuses leaves nothing."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from augmentor import pseudo_label
from augmentor.data import load_source


@pytest.fixture
def sets(digits, tmp_path):
    """few.npz, ten labelled digits of each class, and many.npz, others with wrong labels."""
    rows = np.concatenate([np.flatnonzero(digits.targets.numpy() == label)[:10] for label in range(10)])
    rest = np.setdiff1d(np.arange(700), rows)
    np.savez(tmp_path / "few.npz", images=digits.images[rows].numpy(), labels=digits.targets[rows].numpy())
    np.savez(tmp_path / "many.npz", images=digits.images[rest].numpy(), labels=np.full(len(rest), 3))
    return digits.subset(rows), digits.subset(rest)


def test_what_it_writes_is_that_of_python_and_other_commands_read_it(sets, succeeds, tmp_path):
    few, many = sets
    said = succeeds("pseudo-label few.npz many.npz --encoder digits --out labels.npz --device cpu")
    expected = pseudo_label(few, many, "digits")
    for text in ("few.npz: 100 images (1, 8, 8)", "many.npz: 600 images", "digits (vae)", "label_spreading",
                 "for 480 of 600 unlabelled images", f"estimated accuracy: about {100 * expected.accuracy:.0f} %",
                 "wrote labels.npz: 580 images"):  # fmt: skip
        assert text in said
    data = load_source(tmp_path / "labels.npz")
    assert np.array_equal(data.targets, expected.targets)
    assert all(np.array_equal(data[i][0], expected[i][0]) for i in (0, 99, 100, 579))
    with np.load(tmp_path / "labels.npz") as arrays:
        assert np.array_equal(arrays["rows"], expected.rows)
        assert np.array_equal(arrays["confidences"], expected.confidences)
        assert arrays["classes"].tolist() == [str(number) for number in range(10)]
    assert "labels.npz: 580 images" in succeeds("preview labels.npz --policy smote")
    succeeds("generate labels.npz --num-samples 8 --policy class_gaussian --out shards")
    assert len(load_source(tmp_path / "shards")) == 8


def test_the_same_command_writes_the_same_bytes_and_auto_chooses_the_encoder(sets, succeeds, files):
    assert "digits (vae)" in succeeds("pseudo-label few.npz many.npz")
    before = files()["pseudo-labels.npz"]
    succeeds("pseudo-label few.npz many.npz")
    assert files()["pseudo-labels.npz"] == before


def test_class_names_of_folders_stay(tmp_path, succeeds):
    random = np.random.default_rng(0)
    for name, grey in (("white", 200), ("black", 50), ("others", 50), ("others", 200)):
        folder = tmp_path / (name if name == "others" else f"few/{name}")
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(12):
            pixels = random.integers(grey - 30, grey + 30, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{grey}-{number}.png")
    succeeds("pseudo-label few others --size 12 --encoder smallnet --method self_training --share 1")
    data = load_source(tmp_path / "pseudo-labels.npz")
    assert (data.classes, data.image_shape, len(data)) == (["black", "white"], (3, 12, 12), 48)
    assert data.targets.bincount().tolist() == [24, 24]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("few.npz many.npz --min-accuracy 0.9999", ["held-out labels", "at least 99.99 %", "with --min-accuracy 0"]),
        ("few.npz many.npz --encoder digit", ["did you mean 'digits'"]),
        ("few.npz many.npz --encoder mnist", ["takes images (1, 28, 28), got (1, 8, 8)"]),
        ("few.npz DATA/rgb --encoder smallnet", ["image 0 of unlabelled has shape (3, 16, 16)"]),
        ("few.npz DATA/empty", ["no images in"]),
        ("DATA/grey.npz many.npz --encoder smallnet", ["held-out labels"]),  # images of noise
        ("few.npz many.npz --share 0", ["--share"]),
        ("few.npz many.npz --method spreading", ["label_spreading"]),
        ("few.npz many.npz --out folder", ["folder.npz"]),
        ("few.npz", ["UNLABELLED"]),
    ],
)
def test_what_is_refused_is_one_line_and_leaves_nothing(sets, refused, files, line, said):
    before = files()
    error = refused(f"pseudo-label {line}")
    for text in said:
        assert text in error
    assert files() == before


def test_a_class_of_one_label_is_refused_unless_told_to_go_on(sets, refused, succeeds, tmp_path):
    few, _ = sets
    np.savez(tmp_path / "rare.npz", images=few.images[:91].numpy(), labels=few.targets[:91].numpy())
    assert "only one label for class 9" in refused("pseudo-label rare.npz many.npz")
    assert "estimated accuracy: not known" in succeeds("pseudo-label rare.npz many.npz --min-accuracy 0")
