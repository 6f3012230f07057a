"""Every kind of data argument, with real files."""

from __future__ import annotations

import io
import pickle
import re
import struct
import warnings

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from augmentor import LatentAugment, generate_shards
from augmentor.data import ArrayDataset, load_source
from augmentor.data.sources import SOURCES, takes_size
from augmentor.exceptions import AugmentorWarning, DataError, InputError, RangeError, ShapeError


def picture(seed: int, size: tuple[int, int] = (8, 8), channels: int = 1) -> np.ndarray:
    shape = size[::-1] if channels == 1 else (*size[::-1], channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path, array: np.ndarray, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


@pytest.fixture
def folder(tmp_path):
    """Two classes of three grey PNGs."""
    for number in range(6):
        save(tmp_path / "images" / ("cat", "dog")[number % 2] / f"{number}.png", picture(number))
    return tmp_path / "images"


@pytest.fixture(scope="module")
def few_shards(digits, tmp_path_factory):
    return generate_shards(digits, LatentAugment("digits"), tmp_path_factory.mktemp("shards"), num_samples=4)


# --- digits


def test_digits_are_the_1797_of_scikit_learn(digits):
    assert (len(digits), digits.image_shape, digits.images.dtype) == (1797, (1, 8, 8), torch.uint8)
    assert digits.images.max() == 255
    assert digits.targets.bincount().min() > 170


# --- npz


@pytest.mark.parametrize(
    ("shape", "stored"),
    [((5, 8, 9), (1, 8, 9)), ((5, 3, 8, 9), (3, 8, 9)), ((5, 8, 9, 3), (3, 8, 9)), ((5, 8, 9, 1), (1, 8, 9))],
)
def test_npz_arrays_of_every_layout(tmp_path, shape, stored):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=pixels, labels=np.asarray([0, 2, 1, 0, 2]))
    data = load_source(tmp_path / "a.npz")
    assert data.image_shape == stored
    assert data.targets.tolist() == [0, 2, 1, 0, 2]
    expected = pixels if len(shape) == 3 else pixels.transpose(0, 3, 1, 2) if shape[3] in (1, 3) else pixels
    assert np.array_equal(data.images.numpy().reshape(-1), np.ascontiguousarray(expected).reshape(-1))


@pytest.mark.parametrize("dtype", [">f4", "f2"])
def test_npz_floats_between_0_and_1_in_any_byte_order(tmp_path, dtype):
    levels = np.arange(128, dtype=np.uint8).reshape(2, 8, 8) * 2
    np.savez(tmp_path / "a.npz", images=(levels / 255).astype(dtype), labels=np.asarray([0, 1], ">i4"))
    np.savez(tmp_path / "b.npz", images=(levels / 255).astype(dtype))
    data = load_source(tmp_path / "a.npz")
    assert data.images.dtype == torch.float32
    assert np.array_equal(data.images[:, 0].numpy(), (levels / 255).astype(dtype).astype(np.float32))
    assert data.targets.tolist() == [0, 1]
    assert load_source(tmp_path / "b.npz").targets.tolist() == [0, 0]  # no labels: one class


@pytest.mark.parametrize(
    ("arrays", "error", "said"),
    [
        ({"pictures": np.zeros((2, 8, 8), np.uint8)}, DataError, "expected an array 'images', and optionally 'labels'"),
        ({"images": np.zeros((2, 8, 8, 8), np.uint8)}, DataError, "images of shape"),
        ({"images": np.zeros((0, 8, 8), np.uint8)}, DataError, "at least one image"),
        ({"images": np.zeros((2, 8, 8), np.int64)}, InputError, "int64 values from 0 to 0; expected uint8"),
        ({"images": np.full((2, 8, 8), np.nan)}, RangeError, "NaN"),
        ({"images": np.asarray([object()])}, DataError, "cannot read"),
        ({"images": np.zeros((2, 8, 8), np.uint8), "labels": np.asarray([0.5, 1])}, DataError, "class numbers"),
        ({"images": np.zeros((2, 8, 8), np.uint8), "labels": np.asarray([0])}, ShapeError, "1 labels for 2 images"),
        ({"images": np.zeros((2, 8, 8), np.uint8), "labels": np.asarray([1, 10**6])}, DataError, "a label of"),
    ],
)
def test_npz_files_that_hold_something_else_are_refused(tmp_path, arrays, error, said):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(error, match=said):
        load_source(tmp_path / "a.npz")


def test_damaged_npz_files_and_others_of_that_name_are_refused(tmp_path):
    np.savez(tmp_path / "whole.npz", images=picture(0, (64, 64))[None])
    np.savez_compressed(tmp_path / "packed.npz", images=picture(0, (64, 64))[None])
    np.save(tmp_path / "array.npy", picture(0))
    whole, packed = (tmp_path / "whole.npz").read_bytes(), bytearray((tmp_path / "packed.npz").read_bytes())
    packed[200:1200:7] = bytes(byte ^ 0xFF for byte in packed[200:1200:7])
    for content in (b"", whole[:-200], packed, (tmp_path / "array.npy").read_bytes()):
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(DataError, match=r"cannot read .*a\.npz"):
            load_source(tmp_path / "a.npz")
    with pytest.raises(DataError, match=r"cannot read .*missing\.npz"):
        load_source(tmp_path / "missing.npz")


# --- folders


def test_a_folder_of_class_folders_is_read_in_order(folder):
    data = load_source(folder)
    assert data.classes == ["cat", "dog"]
    assert data.targets.tolist() == [0, 0, 0, 1, 1, 1]
    assert np.array_equal(data.images[0, 0].numpy(), picture(0))
    assert np.array_equal(data.images[3, 0].numpy(), picture(1))
    save(folder / "dog" / "5.png", picture(99))
    assert load_source(folder).fingerprint != data.fingerprint


def test_files_of_every_format_and_pillow_mode_become_grey_or_rgb(tmp_path):
    colour = Image.fromarray(picture(0, (16, 12), 3))
    for number, (mode, suffix) in enumerate(
        [("RGB", suffix) for suffix in ("png", "PNG", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "ppm")]
        + [(mode, "png") for mode in ("1", "L", "LA", "P", "RGBA")] + [("CMYK", "tif")]
    ):  # fmt: skip
        folder = tmp_path / str(number)
        (folder / "a").mkdir(parents=True)
        colour.convert("L" if mode == "LA" else mode).convert(mode).save(folder / "a" / f"x.{suffix}")
        assert load_source(folder).image_shape == (1 if mode in ("1", "L", "LA") else 3, 12, 16), (mode, suffix)


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P", "I;16", "I", "F"])
def test_an_image_that_would_lose_alpha_or_bits_is_left_out_with_the_way_out(folder, kind):
    named = folder / "dog" / ("deep.tif" if kind in ("I;16", "I", "F") else "alpha.png")
    said = "more than 8 bits" if named.name == "deep.tif" else "pixels transparent; .*alpha_composite"
    image = Image.new(kind, (8, 8))
    image.save(named, **({"transparency": 0} if kind == "P" else {}))
    with pytest.warns(
        AugmentorWarning, match=rf"has 6 images; skipped 1 unsupported image .*; dog/{named.name}: .*{said}"
    ):
        data = load_source(folder)
    assert data.targets.tolist() == [0, 0, 0, 1, 1, 1]
    assert np.array_equal(data.images[3, 0].numpy(), picture(1))


def test_opaque_alpha_loses_nothing(folder):
    pixels = picture(0, channels=4)
    pixels[..., 3] = 255
    save(folder / "dog" / "alpha.png", pixels)
    data = load_source(folder)
    assert np.array_equal(data.images[-1].permute(1, 2, 0).numpy(), pixels[..., :3])


def test_a_folder_has_the_files_order_classes_and_pixels_of_torchvisions_image_folder(tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # orientation: turned by a quarter
    names = ("b/2.png", "b/10.png", "b/sub/1.png", "b/sub/deeper/0.jpg", "b c/1.png", "a/z.png", "B/x.png")
    for number, name in enumerate(names):
        save(tmp_path / name, picture(number, (16, 12), 3), **({"exif": exif} if name.endswith("jpg") else {}))
    data, theirs = load_source(tmp_path), datasets.ImageFolder(tmp_path)
    assert data.classes == theirs.classes
    assert data.targets.tolist() == theirs.targets
    for (image, _), (expected, _) in zip(data, theirs, strict=True):
        assert np.array_equal(image.permute(1, 2, 0).numpy(), np.asarray(expected))


def test_grey_and_colour_together_are_all_rgb(tmp_path):
    save(tmp_path / "a" / "grey.png", picture(0))
    save(tmp_path / "a" / "rgb.png", picture(1, channels=3))
    images = load_source(tmp_path).images
    assert images.shape == (2, 3, 8, 8)
    assert (images[0] == images[0, :1]).all()


@pytest.mark.parametrize("flat", [False, True])
def test_what_is_no_image_is_skipped_counted_and_named_in_one_line(folder, flat):
    place = folder / ("cat" if not flat else "flat")
    for number in range(3):
        save(place / f"{number}.png", picture(number))
    root = place if flat else folder
    for name in ("._x.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt"):
        (place / name).write_bytes(b"no image")
    save(root / "__MACOSX" / "a" / "x.png", picture(0))
    save(root / ".cache" / "x.png", picture(0))
    (root / "bird").mkdir()
    (place / "zero.png").write_bytes(b"")
    with pytest.warns(AugmentorWarning) as said:
        data = load_source(root)
    assert data.classes == (["0"] if flat else ["cat", "dog"])
    assert len(data) == (3 if flat else 7)
    (line,) = (str(warning.message) for warning in said)
    assert re.search(r"skipped 6 system files \(.*, \.\.\.\)", line)
    for text in ("__MACOSX/", "1 other file (", "notes.txt", "1 empty folder (bird)", "1 unreadable image (", "zero"):
        assert text in line


def test_a_clean_folder_is_read_without_a_word(folder):
    with warnings.catch_warnings(action="error"):
        assert len(load_source(folder)) == 6


def test_a_link_to_a_folder_above_gives_no_image_twice(folder):
    (folder / "dog" / "loop").symlink_to("..")
    (folder / "cow").symlink_to("cat")
    with pytest.warns(AugmentorWarning, match=r"has 9 images; skipped 1 cyclic link \(dog/loop\)"):
        assert load_source(folder).classes == ["cat", "cow", "dog"]


def test_images_beside_the_class_folders_are_left_out_and_named(folder):
    save(folder / "logo.png", picture(0, (3, 3)))
    with pytest.warns(AugmentorWarning, match=r"has 6 images; skipped 1 top-level image \(logo\.png\)"):
        assert len(load_source(folder)) == 6


def broken_files() -> dict[str, bytes]:
    def encoded(format: str) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(picture(0, (32, 32), 3)).save(buffer, format=format)
        return buffer.getvalue()

    return {
        "empty.png": b"",
        "damaged.png": encoded("PNG")[:60] + b"\xff" * 40 + encoded("PNG")[100:],
        **{f"truncated.{kind}": encoded(kind)[:300] for kind in ("png", "jpeg", "gif", "tiff")},
    }


@pytest.mark.parametrize("name", broken_files())
def test_a_broken_image_is_left_out_and_named(folder, name):
    (folder / "dog" / name).write_bytes(broken_files()[name])
    with pytest.warns(AugmentorWarning, match=rf"has 6 images; skipped 1 unreadable image \(dog/{name}\)"):
        data = load_source(folder)
    assert data.targets.tolist() == [0, 0, 0, 1, 1, 1]


def test_an_image_is_known_by_its_content_and_not_its_suffix(folder):
    (folder / "dog" / "1.png").rename(folder / "dog" / "1.jpg")
    (folder / "dog" / "text.png").write_text("no image")
    with pytest.warns(AugmentorWarning, match=r"1 unreadable image \(dog/text\.png\)"):
        assert len(load_source(folder)) == 6


def test_an_image_of_absurd_size_counts_as_broken(folder, monkeypatch):
    save(folder / "dog" / "bomb.png", picture(0, (64, 64)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow refuses twice as many
    with pytest.warns(AugmentorWarning, match=r"1 unreadable image \(dog/bomb\.png\)"):
        assert len(load_source(folder)) == 6


def test_a_class_or_a_folder_without_an_image_that_can_be_taken_is_refused_with_the_reason(folder, tmp_path):
    for path in (folder / "bird" / "x.png", tmp_path / "bad" / "a" / "x.png"):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"none of the images of class 'bird' .* can be read: cannot identify"):
        load_source(folder)
    Image.new("RGBA", (8, 8)).save(folder / "bird" / "x.png")
    with pytest.raises(DataError, match=r"class 'bird' .*64 of 64 pixels transparent; .*alpha_composite"):
        load_source(folder)
    with pytest.raises(DataError, match=r"none of the 1 images .* can be read: cannot identify"):
        load_source(tmp_path / "bad")


def test_sizes_that_differ_are_refused_with_the_way_out(folder):
    save(folder / "cat" / "wide.png", picture(0, (20, 10)))
    with pytest.raises(DataError, match=r"2 sizes \(6 of 8x8, 1 of 20x10\); crop .*--size 64.*size=64"):
        load_source(folder)


def test_size_crops_the_middle_square_and_resizes(folder):
    wide = np.zeros((10, 30), np.uint8)
    wide[:, 10:20] = 255  # the middle square is white
    save(folder / "cat" / "a wide one.png", wide)
    data = load_source(folder, size=16)
    assert data.image_shape == (1, 16, 16)
    assert len(data) == 7
    assert [n for n in range(7) if data.images[n].float().mean() > 240] == [3]
    with pytest.raises(InputError, match="size"):
        load_source(folder, size=0)


def test_files_alone_are_one_class(tmp_path):
    for number in range(3):
        save(tmp_path / f"{number}.png", picture(number))
    data = load_source(tmp_path)
    assert (data.targets.tolist(), data.classes) == ([0, 0, 0], ["0"])
    assert np.array_equal(data.images[:, 0].numpy(), np.stack([picture(number) for number in range(3)]))


def test_folders_without_images_and_those_of_runs_are_refused(tmp_path):
    (tmp_path / "empty" / "a").mkdir(parents=True)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("x")
    save(tmp_path / "run" / "reconstructions.png", picture(0))
    (tmp_path / "run" / "run.json").write_text("{}")
    for name, said in (
        ("empty", r"no images in .*skipped 1 empty folder \(a\); expected image files, or one folder per class"),
        ("texts", r"skipped 1 other file \(a\.txt\)"),
        ("run", "the folder of a training run"),
    ):
        with pytest.raises(DataError, match=said):
            load_source(tmp_path / name)


def test_class_folders_that_stand_a_folder_lower_are_pointed_out(folder, tmp_path):
    (tmp_path / "above").mkdir()
    folder.rename(tmp_path / "above" / "train")
    with pytest.warns(AugmentorWarning, match=rf"subfolders are the classes, use {tmp_path / 'above' / 'train'}"):
        assert load_source(tmp_path / "above").classes == ["train"]


# --- mnist and cifar10


def write_idx(path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    magic = (8 << 8) | array.ndim
    header = struct.pack(f">{1 + array.ndim}i", magic, *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.fixture
def mnist(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    for prefix, count in (("train", 12), ("t10k", 5)):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 28, 28))
        write_idx(raw / f"{prefix}-images-idx3-ubyte", pixels)
        write_idx(raw / f"{prefix}-labels-idx1-ubyte", np.arange(count) % 10)
    return tmp_path


def test_mnist_is_read_from_torchvisions_folder(mnist):
    for split, count in (("train", 12), ("test", 5)):
        data = load_source(f"mnist:{mnist}", split=split)
        assert data.targets.tolist() == [n % 10 for n in range(count)]
        assert len(data.classes) == 10
        expected = np.random.default_rng(count).integers(0, 256, (count, 28, 28))
        assert np.array_equal(data.images[:, 0].numpy(), expected)


@pytest.mark.parametrize("kind", ["mnist", "cifar10"])
def test_data_that_is_not_there_is_refused_with_the_way_to_fetch_it(tmp_path, kind):
    with pytest.raises(DataError, match=f"found no {kind} under .*download=True"):
        load_source(f"{kind}:{tmp_path}")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_mnist_is_refused(mnist):
    path = mnist / "MNIST" / "raw" / "train-images-idx3-ubyte"
    for keep in (100, 3):
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(DataError, match="mnist under"):
            load_source(f"mnist:{mnist}")


def test_a_foreign_pickle_in_the_place_of_cifar10_is_never_loaded(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    batches = tmp_path / "cifar-10-batches-py"
    batches.mkdir()
    for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch", "batches.meta"):
        (batches / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match="cifar10"):
        load_source(f"cifar10:{tmp_path}")
    assert not (tmp_path / "executed").exists()


def test_cifar10_is_read_from_torchvisions_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)  # of the real files
    batches = tmp_path / "cifar-10-batches-py"
    batches.mkdir()
    names = [f"class {n}" for n in range(10)]
    (batches / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    draw = np.random.default_rng(0)
    pixels, labels = draw.integers(0, 256, (12, 3, 32, 32), dtype=np.uint8), draw.integers(0, 10, 12)
    for n, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        rows = slice(2 * n, 2 * n + 2)
        content = {"data": pixels[rows].reshape(2, -1), "labels": labels[rows].tolist()}
        (batches / name).write_bytes(pickle.dumps(content))
    for split, rows in (("train", slice(10)), ("test", slice(10, 12))):
        data = load_source(f"cifar10:{tmp_path}", split=split)
        assert np.array_equal(data.images.numpy(), pixels[rows])
        assert data.targets.tolist() == labels[rows].tolist()
        assert data.classes == names


# --- anything else


def test_an_argument_that_names_nothing_is_answered_with_what_there_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    for source in ("", "digit", "mnist:", "no/such/folder", "s3://bucket", "a.txt"):
        with pytest.raises(DataError, match=r"expected 'digits', mnist:ROOT, .* or a folder of images"):
            load_source(source)


@pytest.mark.parametrize("name", ["mnist", "h5"])
def test_a_folder_that_is_called_like_a_kind_of_data_is_a_folder(tmp_path, monkeypatch, name):
    for label in "ab":
        (tmp_path / name / label).mkdir(parents=True)
        Image.new("L", (12, 10)).save(tmp_path / name / label / "one.png")
    monkeypatch.chdir(tmp_path)
    assert load_source(name, size=8).image_shape == (1, 8, 8)
    for split in ("test", "validation"):  # and not all its images, called "test"
        with pytest.raises(InputError, match="split"):
            load_source(name, split=split)


@pytest.mark.parametrize("kind", SOURCES, ids=lambda kind: type(kind).__name__)
def test_every_source_says_how_it_is_named_and_refuses_what_it_does_not_take(kind, tmp_path, mnist, folder, few_shards):
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 8, 8), np.uint8))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"], file["labels"] = np.zeros((2, 8, 8), np.uint8), np.arange(2)
    files = [f"h5:{tmp_path}/a.h5", f"{tmp_path}/a.npz", str(folder), str(few_shards)]
    here = ["digits", f"mnist:{mnist}", *files]
    text = next(text for text in here if kind.names(text))
    data = load_source(text)
    image, label = data[0]
    assert (image.dtype, tuple(image.shape), type(label)) == (torch.uint8, tuple(data.image_shape), int)
    assert len(data.targets) == len(data)
    assert len(data.classes) > int(data.targets.max())
    assert takes_size(text) == kind.takes_size
    for taken, argument in ((kind.takes_size, {"size": 16}), (kind.has_splits, {"split": "test"})):
        if taken:
            assert len(load_source(text, **argument)) > 0
        else:
            with pytest.raises(InputError, match=next(iter(argument))):
                load_source(text, **argument)
    with pytest.raises(DataError) as error:
        load_source("nowhere/at/all")
    assert all(form in str(error.value) for form in kind.forms)


# --- the data set they all become


def test_an_array_data_set_gives_items_one_by_one_and_together():
    images = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8)
    data = ArrayDataset(images, torch.tensor([0, 2, 1, 0]), ["a", "b", "c"])
    together = data.__getitems__([3, 0])
    assert [label for _, label in together] == [data[3][1], data[0][1]] == [0, 0]
    assert torch.equal(together[0][0], data[3][0])
    part = data.subset(torch.tensor([False, True, True, False]))
    assert part.targets.tolist() == [2, 1]
    assert part.classes == ["a", "b", "c"]


def test_an_array_data_set_refuses_what_does_not_fit():
    images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    with pytest.raises(ShapeError, match="takes images"):
        ArrayDataset(images[0])
    with pytest.raises(DataError, match="labels go up to 2; expected 0 to 1"):
        ArrayDataset(images, torch.tensor([0, 2]), ["a", "b"])
