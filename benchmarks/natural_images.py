"""Make the training images of the pretrained `natural`: ``python benchmarks/natural_images.py DATA_ROOT OUT``.

clothing.npz       nine tenths of the files of clothing64; clothing-test.npz has the rest
natural.npz        32x32: CIFAR-10's training images, those of clothing.npz (whole and in pieces), and pieces of the
                   photographs that come with scikit-image, at several scales
natural-test.npz   every ninth of the same images made of CIFAR-10's test images, clothing-test.npz and HELD_OUT
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from skimage import data as photographs
from sklearn.datasets import load_sample_image

from augmentor.data import load_source

SIZE = 32
CUTS = 1000  # pieces per photograph, at full size
SHRUNK = (1, 2, 4)  # factors by which photographs are reduced

# Name => licence, as scikit-image states it.
TRAINED_ON = {
    "astronaut": "public domain (NASA)",
    "brick": "CC0",
    "clock": "public domain (S. van der Walt)",
    "coffee": "CC0 (R. Michetti)",
    "coins": "no known restrictions (Brooklyn Museum)",
    "grass": "CC0",
    "gravel": "CC0",
    "hubble_deep_field": "public domain (NASA)",
    "moon": "none stated; part of scikit-image (BSD-3-Clause)",
    "rocket": "public domain (SpaceX)",
}
HELD_OUT = {
    "chelsea": "CC0 (S. van der Walt)",
    "camera": "CC0 (L. Varshney)",
    "china.jpg": "CC BY 2.0 (danielbuechele)",
    "flower.jpg": "CC BY 2.0 (vultilion)",
}


def main(root: str, out: str) -> None:
    clothing = load_source(f"{root}/clothing64/train", size=64)
    tenth = np.arange(len(clothing)) % 10 == 9
    for name, split, rows, known in (("", "train", ~tenth, TRAINED_ON), ("-test", "test", tenth, HELD_OUT)):
        images, labels = channels_last(clothing)[rows], clothing.targets.numpy()[rows]
        np.savez(Path(out) / f"clothing{name}.npz", images=images, labels=labels)
        patches = natural(channels_last(load_source(f"{root}/cifar10/{split}")), images, known)
        patches = patches if split == "train" else patches[::9]  # enough for a test
        np.savez(Path(out) / f"natural{name}.npz", images=patches)
        print(f"{split}: {len(images)} images of clothing, {len(patches)} patches")


def natural(cifar: np.ndarray, clothing: np.ndarray, known: Iterable[str]) -> np.ndarray:
    """Return the images as uint8 (N, SIZE, SIZE, 3)."""
    random = np.random.default_rng(0)
    parts = [cifar]
    for image in clothing:
        parts += [resized(image, SIZE, SIZE)[None], cuts(image, 2, random)]
    for image in map(photograph, known):
        for times in SHRUNK:
            height, width = (side // times for side in image.shape[:2])
            parts.append(cuts(resized(image, height, width), CUTS // times, random))
    return np.concatenate(parts)


def photograph(name: str) -> np.ndarray:
    """Return a photograph as uint8 (H,W) or (H,W,3)."""
    return load_sample_image(name) if name.endswith(".jpg") else getattr(photographs, name)()


def channels_last(dataset: Any) -> np.ndarray:
    return dataset.images.permute(0, 2, 3, 1).numpy()


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the image as uint8 (height, width, 3)."""
    return np.asarray(Image.fromarray(image).convert("RGB").resize((width, height), Image.Resampling.LANCZOS))


def cuts(image: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Return random pieces (count, SIZE, SIZE, 3), half of them mirrored."""
    height, width = image.shape[:2]
    tops, lefts = random.integers(0, height - SIZE + 1, count), random.integers(0, width - SIZE + 1, count)
    found = np.stack([image[top : top + SIZE, left : left + SIZE] for top, left in zip(tops, lefts, strict=True)])
    found[::2] = found[::2, :, ::-1]
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
