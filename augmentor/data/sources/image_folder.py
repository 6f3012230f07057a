"""A folder of image files, with or without one folder per class."""

from __future__ import annotations

import os
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..._internal.files import absolute_path
from ..._internal.progress import progress_bar
from ..._internal.samples import rgb_of
from ...exceptions import AugmentorWarning, DataError, InputError
from ..arrays import ArrayDataset
from ._base import Source, register_source

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
# Files and folders of operating systems, except hidden ones; in lower case.
_SYSTEM = ("thumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "system volume information")
_NAMED = 3  # names listed in a message


@register_source
class ImageFolder(Source):
    """Source of image files, in the order and with the classes and orientation of torchvision's `ImageFolder`.

    All images are read at loading. An image that cannot be read, is transparent or has more than 8 bits is skipped. At
    least one image per class must remain.
    """

    forms = ("a folder of images",)
    takes_size = True

    def names(self, text: str) -> bool:
        return bool(text) and absolute_path(text).is_dir()  # an empty text would be the working folder

    def load(self, text: str, *, split: str, size: int | None) -> ArrayDataset:
        path = absolute_path(text)
        if (path / "run.json").is_file():
            raise DataError(f"{path} is the folder of a training run; expected a folder of images")
        found = _search(path)
        if not found.images:
            raise DataError(f"found no images in {path}{found}; expected image files, or one folder per class")
        numbers = {name: number for number, name in enumerate(found.classes)}
        arrays, taken = [], []
        reasons: dict[str, Exception] = {}  # first error of each class
        for file in progress_bar(found.images, desc=f"reading {path.name}", unit="image", leave=False):
            try:
                arrays.append(_read_image(path / file, size))
                taken.append(file)
            except MemoryError:
                raise
            except InputError as error:
                found.refuse(file, error)
                reasons.setdefault(file.parts[0], error)
            except Exception as error:  # for damaged files, decoders raise many types
                found.skip("unreadable image", file)
                reasons.setdefault(file.parts[0], error)
        if not arrays:
            reason = next(iter(reasons.values()))
            raise DataError(f"none of the {len(found.images)} images in {path} can be read: {reason}")
        labels = [numbers.get(file.parts[0], 0) for file in taken]
        for name in (name for name, number in numbers.items() if number not in labels):
            raise DataError(
                f"none of the images of class {name!r} in {path} can be read: {reasons[name]}; fix them, or remove "
                "the folder of the class"
            )
        found.images = taken
        found.warn(path)
        return ArrayDataset(_stack(arrays, path), torch.tensor(labels), found.classes or None)


@dataclass
class _Found:
    """Image files, relative to the folder, and names of the classes; empty without class folders.

    skipped: skipped files and folders, by kind. refusal: error message of the first unsupported image.
    """

    images: list[Path] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    skipped: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    refusal: str = ""

    def skip(self, kind: str, *names: str | Path) -> None:
        """Record skipped names."""
        if names:
            self.skipped[kind] += map(str, names)

    def refuse(self, file: Path, error: InputError) -> None:
        """Skip an intact image that would lose information, such as alpha."""
        self.skip("unsupported image", file)
        self.refusal = self.refusal or f"; {file}: {error}"

    def __str__(self) -> str:
        """Return ``; skipped 2 system files (._x.jpg, .DS_Store)``, or an empty text."""
        parts = [
            f"{len(names)} {kind}{'s' if len(names) > 1 else ''} "
            f"({', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''})"
            for kind, names in self.skipped.items()
        ]
        return f"; skipped {', '.join(parts)}" if parts else ""

    def warn(self, path: Path) -> None:
        """Issue one warning about skipped names, and about classes that may be one folder below."""
        hint = ""
        if self.classes and all(len(file.parts) > 2 for file in self.images):
            hint = (
                f"; all of them are in subfolders of the class folders ({', '.join(self.classes[:_NAMED])}): if the "
                f"subfolders are the classes, use {path / self.classes[0]}"
            )
        if hint or self.skipped:
            warnings.warn(
                f"{path} has {len(self.images)} images{hint}{self}{self.refusal}", AugmentorWarning, stacklevel=4
            )


def _search(path: Path) -> _Found:
    """Find all image files below a folder. First-level folders are classes if any of them contains images."""
    found, top = _Found(), []
    for root, folders, names in os.walk(path, followlinks=True, onerror=_raise):
        below = Path(root).relative_to(path)
        found.skip("system file", *(f"{below / name}/" for name in sorted(folders) if _is_system(name)))
        folders[:] = [name for name in folders if not _is_system(name)]
        above = {here := Path(root).resolve(), *here.parents}
        loops = [name for name in folders if Path(root, name).resolve() in above]
        found.skip("cyclic link", *(below / name for name in loops))
        folders[:] = [name for name in folders if name not in loops]
        for name in sorted(names):
            if _is_system(name):
                found.skip("system file", below / name)
            elif Path(name).suffix.lower() in IMAGE_SUFFIXES and os.path.isfile(Path(root, name)):
                found.images.append(below / name)
            else:
                found.skip("other file", below / name)
        if not below.parts:
            top = sorted(folders)
    found.classes = sorted({file.parts[0] for file in found.images if len(file.parts) > 1})
    found.skip("empty folder", *(name for name in top if name not in found.classes))
    if found.classes:
        found.skip("top-level image", *(file for file in found.images if len(file.parts) == 1))
        found.images = [file for file in found.images if len(file.parts) > 1]
    found.images.sort(key=lambda file: (file.parts[0] if found.classes else "", str(file.parent), file.name))
    return found


def _is_system(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM


def _raise(error: OSError) -> None:
    raise DataError(f"cannot read the folder {error.filename}: {error.strerror}; make it readable, or remove it")


def _read_image(file: Path, size: int | None) -> np.ndarray:
    with Image.open(file) as opened:
        image = rgb_of(opened)
        if size is not None:
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            box = (left, top, left + side, top + side)
            image = image.resize((size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=3)
        return np.asarray(image)


def _stack(arrays: list[np.ndarray], path: Path) -> torch.Tensor:
    """Stack images of one size, grey (H,W) or colour (H,W,3), as (N,C,H,W); if any is colour, all become colour."""
    sizes = Counter(array.shape[:2] for array in arrays).most_common()
    if len(sizes) > 1:
        shown = ", ".join(f"{count} of {width}x{height}" for (height, width), count in sizes[:_NAMED])
        more = ", ..." if len(sizes) > _NAMED else ""
        raise DataError(
            f"the images in {path} have {len(sizes)} sizes ({shown}{more}); crop and resize them to one size, "
            "such as with --size 64, or load_source(..., size=64)"
        )
    if any(array.ndim == 3 for array in arrays):
        arrays = [array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=2) for array in arrays]
    else:
        arrays = [array[..., None] for array in arrays]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()
