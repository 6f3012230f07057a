"""Data arguments: one text that says where images are.

digits               the 1,797 digits of 8x8 that come with scikit-learn
mnist:ROOT           torchvision's MNIST(ROOT), 28x28 grey; nothing is downloaded
cifar10:ROOT         torchvision's CIFAR10(ROOT), 32x32 RGB; nothing is downloaded
FILE.npz             arrays `images` (N,H,W), (N,H,W,C) or (N,C,H,W), uint8 or [0, 1], and `labels` (N,)
h5:FILE              the same as data sets of an HDF5 file; h5:FILE#X,Y calls them X and Y, and h5:FILE#X has no labels
FOLDER               one folder of image files a class; or a folder of shards
"""

from __future__ import annotations

import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from tqdm import tqdm

from .._internal.checks import check_range, to_uint8
from ..exceptions import AugmentorWarning, DataError, InputError
from ..shards.dataset import ShardDataset
from ..shards.journal import holds_shards
from .arrays import ArrayDataset, channels_first
from .hdf5_dataset import HDF5Dataset

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


def load_source(
    source: str | Path, *, split: str = "train", size: int | None = None, skip_bad: bool = False
) -> ArrayDataset | ShardDataset | HDF5Dataset:
    """The data set that a data argument names; items are `(uint8 tensor (C,H,W), int)`.

    split: "train" or "test", for mnist and cifar10. size: crop the middle square of the files of a folder and resize
    it to this many pixels a side; without it they must all have one size. skip_bad: leave unreadable files of a
    folder out, with a warning that names them, instead of raising. Raises `DataError`.

    >>> len(load_source("digits"))
    1797
    """
    if split not in ("train", "test"):
        raise InputError(f"split is 'train' or 'test', got {split!r}")
    if size is not None and size < 1:
        raise InputError(f"size is a number of pixels, at least 1, got {size}")
    text = str(source)
    kind, _, root = text.partition(":")
    if split != "train" and not (kind in ("mnist", "cifar10") and root):
        raise InputError(f"split={split!r} is for mnist and cifar10; {text} has no parts: name the data to use")
    if size is not None and not takes_size(text):
        raise InputError(f"size={size} is for folders of image files; the images of {text} have one size: leave it out")
    if text == "digits":
        return _digits()
    if kind in ("mnist", "cifar10") and root:
        return _torchvision(kind, root, split)
    if kind == "h5" and root:
        return _hdf5(root)
    path = Path(text)
    if path.suffix == ".npz":
        return _npz(path)
    if holds_shards(path):
        return ShardDataset(path)
    if path.is_dir():
        return _folder(path, size, skip_bad)
    raise DataError(
        f"found no data at {text!r}; expected 'digits', a folder of class folders, mnist:ROOT, cifar10:ROOT, "
        "h5:FILE, an .npz file or a shard folder"
    )


def takes_size(source: str | Path) -> bool:
    """Whether the images of a data argument can be brought to one size when read: those of a folder of files."""
    path, (kind, _, root) = Path(source), str(source).partition(":")
    prefixed = kind in ("mnist", "cifar10", "h5") and root  # without one it is a folder of that name
    return not (prefixed or str(source) == "digits" or path.suffix == ".npz" or holds_shards(path))


def _digits() -> ArrayDataset:
    from sklearn.datasets import load_digits  # 1 s to import, needed only here

    digits = load_digits()
    images = torch.from_numpy(np.round(digits.images * 255 / 16).astype(np.uint8))[:, None]
    return ArrayDataset(images, torch.from_numpy(digits.target), [str(name) for name in digits.target_names])


def _torchvision(kind: str, root: str, split: str) -> ArrayDataset:
    from torchvision import datasets

    reader = {"mnist": datasets.MNIST, "cifar10": datasets.CIFAR10}[kind]
    try:
        data = reader(root, train=split == "train", download=False)
    except (RuntimeError, OSError, ValueError, AssertionError) as error:  # the last two from a damaged file
        raise DataError(
            f"found no {kind} under {root} that can be read ({type(error).__name__}: {error}); "
            f"fetch it once with torchvision.datasets.{reader.__name__}({root!r}, download=True)"
        ) from error
    images = torch.as_tensor(data.data)
    images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
    return ArrayDataset(images.contiguous(), torch.as_tensor(data.targets), [str(name) for name in data.classes])


def _hdf5(text: str) -> HDF5Dataset:
    path, _, names = text.partition("#")
    if not names:
        return HDF5Dataset(path)
    images, _, labels = names.partition(",")
    return HDF5Dataset(path, images=images, labels=labels or None)


def _npz(path: Path) -> ArrayDataset:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images, labels = arrays["images"], arrays.get("labels", None)
    except (
        OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error,
        RuntimeError, NotImplementedError,  # encrypted, or packed by an unknown method
    ) as error:  # fmt: skip
        raise DataError(f"cannot read {path}: {error}; expected arrays 'images' and 'labels'") from error
    images = channels_first(images, str(path))
    if labels is not None and (labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer)):
        raise DataError(f"{path} has labels {labels.dtype} {labels.shape}; expected class numbers (N,)")
    tensor = torch.from_numpy(np.ascontiguousarray(images, images.dtype.newbyteorder("=")))
    check_range(tensor, str(path))
    return ArrayDataset(to_uint8(tensor), None if labels is None else torch.from_numpy(labels.astype(np.int64)))


def _folder(path: Path, size: int | None, skip_bad: bool) -> ArrayDataset:
    classes = sorted(p.name for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    files = [(file, n) for n, name in enumerate(classes) for file in _image_files(path / name)]
    if not files:
        hint = _hint(path, classes)
        raise DataError(f"found no images in {path}; expected one folder of image files a class{hint}")
    arrays, labels, bad = [], [], []
    for file, label in tqdm(files, desc=f"reading {path.name}", unit="image", delay=2, leave=False):
        try:
            arrays.append(_read_image(file, size))
            labels.append(label)
        except Exception as error:  # decoders of damaged files raise nearly anything
            bad.append(file)
            if not skip_bad:
                raise DataError(
                    f"cannot read the image {file}: {error}; mend or remove it, or skip such files with --skip-bad"
                ) from error
    if bad:
        names = ", ".join(str(file) for file in bad[:5])
        warnings.warn(f"left out {len(bad)} unreadable images: {names}", AugmentorWarning, stacklevel=4)
    if not arrays:
        raise DataError(f"none of the {len(bad)} images in {path} can be read")
    return ArrayDataset(_stack(arrays, path), torch.tensor(labels), classes)


def _image_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())


def _hint(path: Path, classes: list[str]) -> str:
    for name in classes:
        if any(_image_files(p) for p in (path / name).iterdir() if p.is_dir()):
            return f"; did you mean {path / name}?"
    return "; put the files of each class into a folder of its own" if _image_files(path) else ""


def _read_image(file: Path, size: int | None) -> np.ndarray:
    with Image.open(file) as opened:
        upright = ImageOps.exif_transpose(opened)
        if upright.mode.startswith(("I", "F")):  # Pillow would clip these to white
            raise ValueError(f"mode {upright.mode}: expected 8 bits a channel")
        image = upright.convert("L" if upright.mode in ("1", "L", "LA") else "RGB")
        if size is not None:
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            box = (left, top, left + side, top + side)
            image = image.resize((size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=3)
        return np.asarray(image)


def _stack(arrays: list[Any], path: Path) -> torch.Tensor:
    sizes = sorted({array.shape[:2] for array in arrays})
    if len(sizes) > 1:
        shown = ", ".join(f"{width}x{height}" for height, width in sizes[:3])
        raise DataError(
            f"the images in {path} have {len(sizes)} sizes ({shown}, ...); bring them to one with --size 64"
        )
    if any(array.ndim == 3 for array in arrays):
        arrays = [array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=2) for array in arrays]
    else:
        arrays = [array[..., None] for array in arrays]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()
