"""Whether distances on the bundled features increase with the strength of a corruption.

``python benchmarks/smallnet_monotone.py DATA_ROOT [IMAGES] [IMAGES_EFFICIENTNET]`` compares images of five sets with
other images of the set that are blurred, noisy, compressed, without some classes, or with shuffled labels, in five
strengths and three draws. It uses `smallnet` and, for RGB images, `efficientnet-lite0`, and computes the rank
correlation of their distances. Inception's weights are not available offline.
"""

from __future__ import annotations

import itertools
import statistics
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from common import draw_table, record
from natural_images import HELD_OUT, photograph, resized
from scipy.stats import spearmanr
from torchvision.transforms.v2 import functional as v2

from augmentor.data import load_source
from augmentor.quality import compare, extract, frechet_joint_distance, load_features

SEEDS = (0, 1, 2)
# Number of random choices of classes or labels over which a distance is averaged.
REPEATS = 10
# Corruption => five strengths: pixels (doubled in images of 64 px and more), grey levels in [0, 1], JPEG quality,
# fractions of missing classes and of shuffled labels.
STRENGTHS: dict[str, tuple[float, ...]] = {
    "blur": (0.5, 0.75, 1.0, 1.5, 2.0),
    "noise": (0.02, 0.05, 0.1, 0.15, 0.25),
    "jpeg": (75, 50, 25, 10, 5),
    "classes": (0.2, 0.4, 0.5, 0.7, 0.8),
    "labels": (0.1, 0.25, 0.5, 0.75, 1.0),
}


@dataclass
class Images:
    """Images uint8 (N,C,H,W) and class numbers (N,)."""

    images: torch.Tensor
    labels: torch.Tensor

    def drawn(self, rows: np.ndarray) -> Images:
        return Images(self.images[rows], self.labels[rows])


def held_out(root: str) -> dict[str, Images]:
    """Return images that `smallnet` was not trained on, except digits and clothing64 (too few were held out)."""
    digits, clothes = load_source("digits"), load_source(f"{root}/clothing64/train", size=64)
    mnist, cifar = load_source(f"mnist:{root}", split="test"), load_source(f"{root}/cifar10/test")
    return {
        "digits 8": Images(digits.images, digits.targets),
        "mnist 28": Images(mnist.images, mnist.targets),
        "cifar10 32": Images(cifar.images, cifar.targets),
        "clothing64 64": Images(clothes.images, clothes.targets),
        "photographs 128": pieces(),
    }


def pieces(side: int = 128, count: int = 250) -> Images:
    """Return pieces of the held-out photographs; each third of a photograph is a class."""
    random, found, labels = np.random.default_rng(0), [], []
    for photo, image in enumerate(map(photograph, HELD_OUT)):
        whole = torch.from_numpy(resized(image, *image.shape[:2]).copy()).permute(2, 0, 1)
        for number in range(count):
            third = number % 3
            top = random.integers(0, whole.shape[1] - side + 1)
            left = (third + random.random()) / 3 * (whole.shape[2] - side)
            found.append(whole[:, top : top + side, int(left) : int(left) + side])
            labels.append(3 * photo + third)
    return Images(torch.stack(found), torch.tensor(labels))


def disturbed(what: str, strength: float, images: torch.Tensor) -> torch.Tensor:
    """Return the images blurred, noisy or compressed."""
    side = images.shape[-1]
    match what:
        case "blur":
            sigma = strength * (2 if side >= 64 else 1)
            width = 2 * min(int(3 * sigma) + 1, side - 1) + 1
            for size in ([width, 1], [1, width]):
                images = v2.gaussian_blur(images, size, [sigma] * 2)
            return images
        case "noise":
            return v2.gaussian_noise(images.float() / 255, sigma=strength)
        case _:
            return v2.jpeg(images, int(strength))


def without_classes(share: float, labels: torch.Tensor, count: int, random: np.random.Generator) -> np.ndarray:
    """Return `count` rows of a random choice of the classes; a fraction `share` of the classes is left out."""
    classes = random.permutation(labels.unique().numpy())
    kept = classes[: max(1, round(len(classes) * (1 - share)))]
    rows = np.flatnonzero(np.isin(labels.numpy(), kept))
    return random.choice(rows, count, replace=len(rows) < count)


def shuffled(share: float, labels: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """Return the labels, a fraction `share` of them permuted."""
    labels, rows = labels.clone(), random.permutation(len(labels))[: round(share * len(labels))]
    labels[rows] = labels[random.permutation(rows)]
    return labels


def distances(extractor: Any, data: Images, count: int, seed: int) -> dict[str, list[list[float]]]:
    """Return corruption => Fréchet and kernel distances, in order of strength; for labels joint distances."""
    random = np.random.default_rng(seed)
    torch.manual_seed(seed)
    order = random.permutation(len(data.labels))
    count = min(count, len(order) // 3)
    real, rest = data.drawn(order[:count]), data.drawn(order[count : 3 * count])
    known, others = extract(extractor, real.images), extract(extractor, rest.images)
    given, same, labels = rest.images[:count], others[:count], rest.labels[:count]

    def scores(made: torch.Tensor) -> tuple[float, float]:
        found = compare(made, known)
        return found["fid"], found["kid"]

    found: dict[str, list[Any]] = {
        what: [scores(extract(extractor, disturbed(what, strength, given))) for strength in STRENGTHS[what]]
        for what in ("blur", "noise", "jpeg")
    }
    for share in STRENGTHS["classes"]:
        drawn = [scores(others[without_classes(share, rest.labels, count, random)]) for _ in range(REPEATS)]
        found.setdefault("classes", []).append(np.mean(drawn, 0))
    for share in STRENGTHS["labels"]:
        joint = [
            frechet_joint_distance(same, shuffled(share, labels, random), known, real.labels) for _ in range(REPEATS)
        ]
        found.setdefault("labels", []).append([np.mean(joint)])
    return {what: np.round(np.transpose(values), 4).tolist() for what, values in found.items()}


def rises(values: list[float]) -> bool:
    return all(a < b for a, b in itertools.pairwise(values))


def main(root: str, images: str = "300", images_efficientnet: str = "100") -> None:
    torch.set_num_threads(1)
    counts = {"smallnet": int(images), "efficientnet-lite0": int(images_efficientnet)}
    rows = {name: measured(name, data, counts) for name, data in held_out(root).items()}
    record("smallnet-monotone", {"images": counts, "seeds": SEEDS, "strengths": STRENGTHS}, rows)
    draw_table("smallnet-monotone", table(rows))


def table(rows: dict[str, Any]) -> list[str]:
    """Return in how many draws each distance increases over all five strengths, and the rank correlations."""
    lines = [f"| images | features | {' | '.join(STRENGTHS)} | rank correlation |", "|---" * (len(STRENGTHS) + 3) + "|"]
    for name, row in rows.items():
        for extractor in [key for key in row if key != "rank_correlation"]:
            cells = [" and ".join(str(count) for count in row[extractor][what]["rises"].values()) for what in STRENGTHS]
            alike = " and ".join(f"{value:.2f}" for value in row.get("rank_correlation", {}).values())
            lines.append(f"| {name} | {extractor} | {' | '.join(cells)} | {alike} |")
    return lines


def measured(name: str, data: Images, counts: dict[str, int]) -> dict[str, Any]:
    """Return the distances of each extractor, in how many draws they increase, and the rank correlation."""
    row: dict[str, Any] = {}
    for extractor, count in counts.items():
        if extractor != "smallnet" and data.images.shape[1] == 1:
            continue
        network = load_features(extractor)
        for seed in SEEDS:
            for what, (frechet, *kernel) in distances(network, data, count, seed).items():
                cell = row.setdefault(extractor, {}).setdefault(what, {"frechet": [], "kernel": []})
                cell["frechet"].append(frechet)
                cell["kernel"] += kernel
        for what, cell in row[extractor].items():
            cell["rises"] = {kind: sum(map(rises, drawn)) for kind, drawn in cell.items() if drawn}
            print(f"{name:16} {extractor:18} {what:8} rises in {cell['rises']} of {len(SEEDS)} draws", flush=True)
    if len(row) == 2:
        row["rank_correlation"] = {kind: correlation(row, kind) for kind in ("frechet", "kernel")}
        print(f"{name:16} rank correlation {row['rank_correlation']}", flush=True)
    return row


def correlation(row: dict[str, Any], kind: str) -> float:
    """Return Spearman's correlation of the distances of two extractors over all corruptions, mean over draws."""

    def all_of(cells: dict[str, Any], seed: int) -> list[float]:
        return [value for what in STRENGTHS if what != "labels" for value in cells[what][kind][seed]]

    found = [spearmanr(*(all_of(cells, seed) for cells in row.values())).statistic for seed in SEEDS]
    return round(statistics.mean(found), 3)


if __name__ == "__main__":
    main(*sys.argv[1:])
