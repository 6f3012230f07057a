"""Speed of the neighbour searches among 100,000 reference samples, against a matrix product and scikit-learn.

    python benchmarks/neighbours.py        about two minutes

The quality gate searches 3 neighbours of moved latents with `nearby`, `smote` searches 6 of the sample's class with
`looked_up`, and both search the row of a real sample with `find`. All searches are measured in turn in one process; a
figure is the median over rounds. The trees of scikit-learn search one latent at a time, so they get 16 latents once,
and their time is scaled to the batch.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from common import draw_table, record
from sklearn.neighbors import BallTree, KDTree, NearestNeighbors
from threadpoolctl import threadpool_limits

from augmentor._internal.random import SampleRandom, sample_keys
from augmentor.latents.neighbours import Neighbours

SIZE, CLASSES, ROUNDS, SEED = 100_000, 10, 5, 0
GATE, SMOTE, OF_TREES = 3, 6, 16
FACTORS, REST = 8, 0.1


def normal(count: int, width: int, seed: int) -> torch.Tensor:
    return SampleRandom(sample_keys(seed, 0, range(count))).normal(width)


def rows(data: str) -> torch.Tensor:
    """Return standardised latents (SIZE, D): without structure, the hardest case, or near a subspace of few factors."""
    if data == "64, of 8 factors":
        z = normal(SIZE, FACTORS, SEED) @ normal(FACTORS, 64, SEED + 1) + REST * normal(SIZE, 64, SEED + 2)
        return (z - z.mean(0)) / z.std(0)
    return normal(SIZE, {"16": 16, "64": 64, "8x8x8": 512}[data], SEED)


def product(real: torch.Tensor, squares: torch.Tensor, z: torch.Tensor, k: int) -> torch.Tensor:
    """Search with a matrix product and the k smallest distances of each block."""
    blocks = zip(real.split(4096), squares.split(4096), strict=True)
    least = [torch.addmm(of_rows, z, part.T, alpha=-2).topk(k, largest=False)[0] for part, of_rows in blocks]
    return torch.cat(least, 1).topk(k, largest=False)[0]


def in_turn(contenders: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Return milliseconds per call, the median after a warm-up round."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(ROUNDS + 1):
        for name, contender in contenders.items():
            begin = time.perf_counter()
            contender()
            if number:
                times[name].append(1e3 * (time.perf_counter() - begin))
    return {name: statistics.median(found) for name, found in times.items()}


def measure(data: str) -> dict[str, dict[str, float]]:
    """Return milliseconds per batch: "data, batch, threads" => contender => figure."""
    labels = torch.arange(SIZE).mul(CLASSES).div(SIZE, rounding_mode="floor")
    search = Neighbours(rows(data), labels)
    real, squares = search.z, search.z.square().sum(1)
    brute = NearestNeighbors(algorithm="brute").fit(real.numpy())
    trees = {"kd_tree": KDTree(real.numpy()), "ball_tree": BallTree(real.numpy())}
    found: dict[str, dict[str, float]] = {}
    for batch, threads in ((64, 1), (256, 1), (256, 2)):
        torch.set_num_threads(threads)
        origin = torch.arange(0, SIZE, SIZE // batch)[:batch]
        source, classes = real[origin], labels[origin]
        moved = source + 0.5 * normal(batch, real.shape[1], SEED + 3)
        contenders = {
            "nearby": lambda moved=moved, origin=origin: search.nearby(moved, GATE, origin),
            "nearest": lambda moved=moved: search.nearest(moved, GATE),
            "product and topk": lambda moved=moved: product(real, squares, moved, GATE),
            "scikit-learn, brute": lambda moved=moved: brute.kneighbors(moved.numpy(), GATE),
            "looked up, of the class": lambda source=source, classes=classes: search.looked_up(source, SMOTE, classes),
            "nearest, of the class": lambda source=source, classes=classes: search.nearest(source, SMOTE, classes),
            "find": lambda source=source: search.find(source),
            "nearest, 1": lambda source=source: search.nearest(source, 1),
        }
        with threadpool_limits(threads):
            row = in_turn(contenders)
        if threads == 1:
            for name, tree in trees.items():
                begin = time.perf_counter()
                tree.query(moved[:OF_TREES].numpy(), GATE)
                row[f"scikit-learn, {name}"] = 1e3 * (time.perf_counter() - begin) * batch / OF_TREES
        distance, exact = search.nearby(moved, 1, origin)[0], search.nearest(moved, 1)[0]
        row["nearby distance / exact"] = float((distance / exact).median())
        found[f"{data}, batches of {batch}, {threads} thread{'s' * (threads > 1)}"] = row
    return found


def table(results: dict[str, dict[str, float]]) -> list[str]:
    """Return the searches of the gate relative to `nearby`, then the others relative to the exact search."""
    others = ["nearest", "product and topk", *(f"scikit-learn, {name}" for name in ("brute", "kd_tree", "ball_tree"))]
    lines = [f"| dimensions | `nearby`, ms | {' | '.join(others)} |", f"|---|---|{'---|' * len(others)}"]
    for name, row in results.items():
        ratios = (f"{row[other] / row['nearby']:.3g} x" if other in row else "" for other in others)
        lines.append(f"| {name} | {row['nearby']:.3g} | {' | '.join(ratios)} |")
    pairs = {"looked up, of the class": "nearest, of the class", "find": "nearest, 1"}
    lines += ["", f"| dimensions | {' | '.join(f'{a} / {b}' for a, b in pairs.items())} | `nearby` distance / exact |"]
    lines += ["|---|---|---|---|"]
    for name, row in results.items():
        ratios = (f"{row[a] / row[b]:.2g}" for a, b in pairs.items())
        lines.append(f"| {name} | {' | '.join(ratios)} | {row['nearby distance / exact']:.3f} |")
    return lines


def main() -> None:
    results: dict[str, dict[str, float]] = {}
    for data in ("16", "64", "64, of 8 factors", "8x8x8"):
        results |= measure(data)
        print(f"{data}: done", flush=True)
    settings = {"reference samples": SIZE, "classes": CLASSES, "rounds": ROUNDS, "seed": SEED, "k": [GATE, SMOTE]}
    record("neighbours", settings, results)
    lines = table(results)
    print("\n".join(lines))
    draw_table("neighbours", lines)


if __name__ == "__main__":
    main()
