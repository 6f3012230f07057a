"""Every kind of data argument, with real files."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import torch
from PIL import Image

from augmentor.data import ArrayDataset, load_source
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


# --- digits


def test_digits_are_the_1797_of_scikit_learn(digits):
    assert len(digits) == 1797
    assert digits.image_shape == (1, 8, 8)
    assert digits.classes == [str(n) for n in range(10)]
    assert digits.images.max() == 255
    assert digits.images.dtype == torch.uint8
    assert digits.targets.bincount().min() > 170


# --- npz


@pytest.mark.parametrize(
    ("shape", "stored"),
    [((5, 8, 9), (1, 8, 9)), ((5, 1, 8, 9), (1, 8, 9)), ((5, 3, 8, 9), (3, 8, 9)), ((5, 8, 9, 3), (3, 8, 9)),
     ((5, 8, 9, 1), (1, 8, 9))],
    ids=str,
)  # fmt: skip
def test_npz_arrays_of_every_layout(tmp_path, shape, stored):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=pixels, labels=np.asarray([0, 2, 1, 0, 2]))
    data = load_source(tmp_path / "a.npz")
    assert data.image_shape == stored
    assert data.targets.tolist() == [0, 2, 1, 0, 2]
    expected = pixels if len(shape) == 3 else pixels.transpose(0, 3, 1, 2) if shape[3] in (1, 3) else pixels
    assert np.array_equal(data.images.numpy().reshape(-1), np.ascontiguousarray(expected).reshape(-1))


@pytest.mark.parametrize("dtype", [">f4", ">f8", np.dtype(np.float32).newbyteorder("<")])
def test_npz_arrays_of_another_byte_order_are_read(tmp_path, dtype):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 9)) / 255
    np.savez(tmp_path / "a.npz", images=pixels.astype(dtype), labels=np.asarray([0, 1, 0], ">i4"))
    data = load_source(tmp_path / "a.npz")
    assert np.array_equal(data.images[:, 0].numpy(), np.round(255 * pixels).astype(np.uint8))
    assert data.targets.tolist() == [0, 1, 0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_npz_floats_between_0_and_1_become_levels(tmp_path, dtype):
    levels = np.arange(128, dtype=np.uint8).reshape(2, 8, 8) * 2
    np.savez(tmp_path / "a.npz", images=(levels / 255).astype(dtype))
    data = load_source(tmp_path / "a.npz")
    assert np.array_equal(data.images[:, 0].numpy(), levels)
    assert data.targets.tolist() == [0, 0]  # no labels: one class


@pytest.mark.parametrize(
    ("arrays", "error", "said"),
    [
        ({"pictures": np.zeros((2, 8, 8), np.uint8)}, DataError, "expected arrays 'images' and 'labels'"),
        ({"images": np.zeros((2, 8), np.uint8)}, DataError, "images of shape"),
        ({"images": np.zeros((2, 8, 8, 5), np.uint8)}, DataError, "images of shape"),
        ({"images": np.zeros((0, 8, 8), np.uint8)}, DataError, "at least one image"),
        ({"images": np.zeros((2, 8, 8), np.int64)}, InputError, "uint8 or floating"),
        ({"images": np.full((2, 8, 8), 200.0)}, RangeError, r"\[0, 1\], got values from 200"),
        ({"images": np.full((2, 8, 8), np.nan)}, RangeError, "NaN"),
        ({"images": np.asarray([object()])}, DataError, "cannot read"),
        ({"images": np.zeros((2, 8, 8), np.uint8), "labels": np.asarray([0.5, 1])}, DataError, "class numbers"),
        ({"images": np.zeros((2, 8, 8), np.uint8), "labels": np.asarray([[0], [1]])}, DataError, "class numbers"),
        ({"images": np.zeros((2, 8, 8), np.uint8), "labels": np.asarray([0])}, ShapeError, "1 labels for 2 images"),
        ({"images": np.zeros((2, 8, 8), np.uint8), "labels": np.asarray([-1, 0])}, DataError, "labels go from -1"),
    ],
)
def test_npz_files_that_hold_something_else_are_refused(tmp_path, arrays, error, said):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(error, match=said):
        load_source(tmp_path / "a.npz")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.95])
def test_a_truncated_npz_is_refused(tmp_path, share):
    np.savez(tmp_path / "a.npz", images=picture(0, (64, 64))[None])
    data = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(data[: int(share * len(data))])
    with pytest.raises(DataError, match=r"cannot read .*a\.npz"):
        load_source(tmp_path / "a.npz")


def test_a_damaged_compressed_npz_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", images=picture(0, (64, 64))[None])
    data = bytearray((tmp_path / "a.npz").read_bytes())
    for position in range(200, 1200, 7):
        data[position] ^= 0xFF
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(DataError, match=r"cannot read .*a\.npz"):
        load_source(tmp_path / "a.npz")


def test_another_file_called_npz_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", picture(0))
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    (tmp_path / "b.npz").write_text("not an archive")
    for name in ("a.npz", "b.npz", "missing.npz"):
        with pytest.raises(DataError, match=f"cannot read .*{name}"):
            load_source(tmp_path / name)


# --- folders


def test_a_folder_of_class_folders_is_read_in_order(folder):
    data = load_source(folder)
    assert data.classes == ["cat", "dog"]
    assert data.targets.tolist() == [0, 0, 0, 1, 1, 1]
    assert np.array_equal(data.images[0, 0].numpy(), picture(0))
    assert np.array_equal(data.images[3, 0].numpy(), picture(1))


def test_the_fingerprint_of_a_folder_is_that_of_its_pixels_and_labels(folder):
    first = load_source(folder).fingerprint
    assert load_source(str(folder)).fingerprint == first
    save(folder / "dog" / "5.png", picture(99))
    assert load_source(folder).fingerprint != first


@pytest.mark.parametrize("suffix", ["png", "PNG", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "ppm"])
def test_colour_files_of_every_format_are_rgb(tmp_path, suffix):
    save(tmp_path / "a" / f"x.{suffix}", picture(0, (16, 12), 3))
    data = load_source(tmp_path)
    assert data.image_shape == (3, 12, 16)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK"])
def test_every_pil_mode_becomes_grey_or_rgb(tmp_path, mode):
    suffix = "tif" if mode == "CMYK" else "png"
    image = Image.fromarray(picture(0, channels=3)).convert("L" if mode == "LA" else mode).convert(mode)
    (tmp_path / "a").mkdir()
    image.save(tmp_path / "a" / f"x.{suffix}")
    assert load_source(tmp_path).image_shape[0] == (1 if mode in ("1", "L", "LA") else 3)


@pytest.mark.parametrize("mode", ["I;16", "F"])
def test_more_than_8_bits_are_refused_and_not_clipped_to_white(tmp_path, mode):
    (tmp_path / "a").mkdir()
    Image.new(mode, (8, 8)).save(tmp_path / "a" / "x.tif")
    with pytest.raises(DataError, match="8 bits"):
        load_source(tmp_path)


def test_a_photograph_is_turned_as_its_camera_says(tmp_path):
    (tmp_path / "a").mkdir()
    exif = Image.Exif()
    exif[274] = 6  # orientation: turned by a quarter
    Image.fromarray(picture(0, (16, 12), 3)).save(tmp_path / "a" / "x.jpg", exif=exif)
    assert load_source(tmp_path).image_shape == (3, 16, 12)


def test_grey_and_colour_together_are_all_rgb(tmp_path):
    save(tmp_path / "a" / "grey.png", picture(0))
    save(tmp_path / "a" / "rgb.png", picture(1, channels=3))
    data = load_source(tmp_path)
    assert data.image_shape == (3, 8, 8)
    grey = data.images[0]
    assert torch.equal(grey[0], grey[1])
    assert torch.equal(grey[0], grey[2])


def test_other_files_and_hidden_folders_are_passed_over(folder):
    (folder / "notes.txt").write_text("hello")
    (folder / "cat" / "notes.txt").write_text("hello")
    (folder / ".cache").mkdir()
    save(folder / ".cache" / "x.png", picture(0))
    data = load_source(folder)
    assert len(data) == 6
    assert data.classes == ["cat", "dog"]


def broken_files() -> dict[str, bytes]:
    import io

    def encoded(format: str) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(picture(0, (32, 32), 3)).save(buffer, format=format)
        return buffer.getvalue()

    return {
        "empty.png": b"",
        "text.jpg": b"this is no image",
        "truncated.png": encoded("PNG")[:300],
        "truncated.jpg": encoded("JPEG")[:400],
        "truncated.gif": encoded("GIF")[:300],
        "truncated.tif": encoded("TIFF")[:300],
        "truncated.webp": encoded("WEBP")[:200],
        "header.png": encoded("PNG")[:20],
        "damaged.png": encoded("PNG")[:60] + b"\xff" * 40 + encoded("PNG")[100:],
    }


@pytest.mark.parametrize("name", broken_files())
def test_one_broken_image_is_named_and_stops_the_reading(folder, name):
    (folder / "dog" / name).write_bytes(broken_files()[name])
    with pytest.raises(DataError, match=rf"cannot read the image .*dog/{name}: .*--skip-bad"):
        load_source(folder)


@pytest.mark.parametrize("name", broken_files())
def test_a_broken_image_is_left_out_with_skip_bad_and_named(folder, name):
    (folder / "dog" / name).write_bytes(broken_files()[name])
    with pytest.warns(AugmentorWarning, match=rf"left out 1 unreadable images: .*dog/{name}"):
        data = load_source(folder, skip_bad=True)
    assert data.targets.tolist() == [0, 0, 0, 1, 1, 1]


def test_an_image_of_absurd_size_counts_as_broken(folder, monkeypatch):
    save(folder / "dog" / "bomb.png", picture(0, (64, 64)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow refuses twice as many
    with pytest.raises(DataError, match=r"cannot read the image .*bomb\.png"):
        load_source(folder)


def test_skip_bad_says_nothing_where_all_is_well_and_stops_where_nothing_is(folder, tmp_path):
    assert len(load_source(folder, skip_bad=True)) == 6
    (tmp_path / "bad" / "a").mkdir(parents=True)
    (tmp_path / "bad" / "a" / "x.png").write_bytes(b"")
    with (
        pytest.warns(AugmentorWarning, match="left out 1"),
        pytest.raises(DataError, match="none of the 1 images"),
    ):
        load_source(tmp_path / "bad", skip_bad=True)


def test_a_class_whose_only_image_is_broken_keeps_its_number(folder):
    (folder / "bird").mkdir()
    (folder / "bird" / "x.png").write_bytes(b"")
    with pytest.warns(AugmentorWarning):
        data = load_source(folder, skip_bad=True)
    assert data.classes == ["bird", "cat", "dog"]
    assert data.targets.tolist() == [1, 1, 1, 2, 2, 2]


def test_sizes_that_differ_are_refused_with_the_way_out(folder):
    save(folder / "cat" / "wide.png", picture(0, (20, 10)))
    with pytest.raises(DataError, match=r"2 sizes \(8x8, 20x10, .*--size"):
        load_source(folder)


def test_size_crops_the_middle_square_and_resizes(folder):
    wide = np.zeros((10, 30), np.uint8)
    wide[:, 10:20] = 255  # the middle square is white
    save(folder / "cat" / "wide.png", wide)
    data = load_source(folder, size=16)
    assert data.image_shape == (1, 16, 16)
    assert len(data) == 7
    white = data.images[[n for n in range(7) if data.images[n].float().mean() > 240]]
    assert len(white) == 1


@pytest.mark.parametrize("size", [0, -3])
def test_a_size_below_one_is_refused_and_not_blamed_on_the_file(folder, size):
    with pytest.raises(InputError, match="size"):
        load_source(folder, size=size)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"found no images in .*; expected one folder of image files a class"):
        load_source(tmp_path)
    (tmp_path / "a").mkdir()
    with pytest.raises(DataError, match="found no images"):
        load_source(tmp_path)


def test_a_folder_one_level_too_high_gets_a_hint(folder):
    with pytest.raises(DataError, match=f"did you mean {folder}\\?"):
        load_source(folder.parent)


def test_a_folder_of_loose_images_gets_a_hint(tmp_path):
    save(tmp_path / "x.png", picture(0))
    with pytest.raises(DataError, match="put the files of each class into a folder of its own"):
        load_source(tmp_path)


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


@pytest.mark.parametrize(("split", "count"), [("train", 12), ("test", 5)])
def test_mnist_is_read_from_torchvisions_folder(mnist, split, count):
    data = load_source(f"mnist:{mnist}", split=split)
    assert len(data) == count
    assert data.image_shape == (1, 28, 28)
    assert data.targets.tolist() == [n % 10 for n in range(count)]
    assert len(data.classes) == 10
    expected = np.random.default_rng(count).integers(0, 256, (count, 28, 28))
    assert np.array_equal(data.images[:, 0].numpy(), expected)


@pytest.mark.parametrize("kind", ["mnist", "cifar10"])
def test_data_that_is_not_there_is_refused_with_the_way_to_fetch_it(tmp_path, kind):
    with pytest.raises(DataError, match=f"found no {kind} under .*download=True"):
        load_source(f"{kind}:{tmp_path}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keep", [0, 3, 10, 100])
def test_a_damaged_mnist_is_refused(mnist, keep):
    path = mnist / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="mnist under"):
        load_source(f"mnist:{mnist}")


def test_a_foreign_pickle_in_the_place_of_cifar10_is_never_loaded(tmp_path):
    import pickle

    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    batches = tmp_path / "cifar-10-batches-py"
    batches.mkdir()
    for name in ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch", "batches.meta"):  # fmt: skip  # noqa: E501
        (batches / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match="cifar10"):
        load_source(f"cifar10:{tmp_path}")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("split", "files"), [("train", [f"data_batch_{n}" for n in range(1, 6)]), ("test", ["test_batch"])]
)
def test_cifar10_is_read_from_torchvisions_folder(tmp_path, monkeypatch, split, files):
    import pickle

    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)  # of the real files
    batches = tmp_path / "cifar-10-batches-py"
    batches.mkdir()
    names = [f"class {n}" for n in range(10)]
    (batches / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    chance, stored = np.random.default_rng(0), {}
    for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"):
        stored[name] = chance.integers(0, 256, (2, 3, 32, 32), dtype=np.uint8), chance.integers(0, 10, 2).tolist()
        content = {"data": stored[name][0].reshape(2, -1), "labels": stored[name][1]}
        (batches / name).write_bytes(pickle.dumps(content))
    data = load_source(f"cifar10:{tmp_path}", split=split)
    assert np.array_equal(data.images.numpy(), np.concatenate([stored[name][0] for name in files]))
    assert data.targets.tolist() == [label for name in files for label in stored[name][1]]
    assert data.classes == names


# --- anything else


@pytest.mark.parametrize("source", ["digit", "mnist", "mnist:", "no/such/folder", "", "cifar100:/tmp", "s3://bucket"])
def test_an_argument_that_names_nothing_is_answered_with_what_there_is(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="expected 'digits', a folder of class folders, mnist:ROOT"):
        load_source(source or "nothing")


def test_a_file_that_is_no_data_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match="found no data"):
        load_source(tmp_path / "a.txt")


@pytest.mark.parametrize("name", ["mnist", "cifar10", "h5"])
def test_a_folder_that_is_called_like_a_kind_of_data_is_a_folder(tmp_path, monkeypatch, name):
    for label in "ab":
        (tmp_path / name / label).mkdir(parents=True)
        Image.new("L", (12, 10)).save(tmp_path / name / label / "one.png")
    monkeypatch.chdir(tmp_path)
    assert load_source(name, size=8).image_shape == (1, 8, 8)
    with pytest.raises(InputError, match="is for mnist and cifar10"):  # and not all its images, called "test"
        load_source(name, split="test")


def test_another_split_is_refused():
    with pytest.raises(InputError, match="split is 'train' or 'test', got 'validation'"):
        load_source("digits", split="validation")


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
    with pytest.raises(ShapeError, match="uint8 images"):
        ArrayDataset(images.float())
    with pytest.raises(ShapeError, match="uint8 images"):
        ArrayDataset(images[0])
    with pytest.raises(DataError, match="at least one"):
        ArrayDataset(images[:0])
    with pytest.raises(ShapeError, match="3 labels for 2"):
        ArrayDataset(images, torch.zeros(3))
    with pytest.raises(DataError, match="labels go from 0 to 2; expected 0 to 1"):
        ArrayDataset(images, torch.tensor([0, 2]), ["a", "b"])
