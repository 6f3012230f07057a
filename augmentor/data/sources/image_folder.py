"""A folder that holds one folder of image files for each class."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from tqdm import tqdm

from ...exceptions import AugmentorWarning, DataError
from ..arrays import ArrayDataset
from ._base import Source, register_source

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


@register_source
class ImageFolder(Source):
    """Class folders; all files are read at once."""

    forms = ("a folder of class folders",)
    takes_size = True

    def names(self, text: str) -> bool:
        return Path(text).is_dir()

    def load(self, text: str, *, split: str, size: int | None, skip_bad: bool) -> ArrayDataset:
        path = Path(text)
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
            warnings.warn(f"left out {len(bad)} unreadable images: {names}", AugmentorWarning, stacklevel=3)
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
