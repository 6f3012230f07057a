"""Speed and memory of reading compressed shards, against h5py on the same files.

    python benchmarks/chunks.py

Speed: images per second from gzip shards, in batches of 256 and one by one, in order, shuffled, and shuffled by blocks.
"h5py, rows" reads the sorted rows of a batch through h5py; "h5py, chunks" reads whole chunks through h5py and caches
the last ones, like `ShardDataset`. All are measured in turn in one process. A ratio is the median of the ratios per
round.

Memory: growth of the peak when one chunk of 64 KiB is read that unpacks to 64 MiB.
"""

from __future__ import annotations

import argparse
import functools
import resource
import tempfile
import zlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from common import draw_table, record
from shards import BATCH, KINDS, READ, SEED, in_turn, ratio

from augmentor import ShardDataset, generate_shards
from augmentor.data import BlockSampler
from augmentor.exceptions import ShardError
from augmentor.shards.rows import BlockCache, rows_of
from augmentor.shards.storage import stored_in

ONE_BY_ONE = 2048  # images
BOMB = 64 << 20


class ByH5py:
    """Reader of the same images by h5py: rows of a batch, or whole chunks that are cached."""

    def __init__(self, folder: Path, shard_size: int, whole_chunks: bool):
        self.files = [h5py.File(path, "r", locking=False)["images"] for path in sorted(folder.glob("*.h5"))]
        self.shard_size, self.whole_chunks, self.cache = shard_size, whole_chunks, BlockCache()

    def __getitem__(self, numbers: list[int]) -> torch.Tensor:
        shards, rows = np.divmod(np.asarray(numbers), self.shard_size)
        result = np.empty((len(numbers), *self.files[0].shape[1:]), np.uint8)
        for shard in np.unique(shards).tolist():
            places = np.flatnonzero(shards == shard)
            if self.whole_chunks:
                self._from_chunks(shard, rows[places], places, result)
            else:
                order = np.argsort(rows[places])
                result[places[order]] = self.files[shard][rows[places][order]]
        return torch.from_numpy(result)

    def _from_chunks(self, shard: int, rows: np.ndarray, places: np.ndarray, result: np.ndarray) -> None:
        step = self.files[shard].chunks[0]
        for chunk in np.unique(rows // step).tolist():
            wanted = rows // step == chunk
            read = functools.partial(self.files[shard].__getitem__, slice(chunk * step, (chunk + 1) * step))
            result[places[wanted]] = self.cache.get((shard, chunk), read)[rows[wanted] - chunk * step]


def speed(kind: str, rounds: int, where: Path) -> dict[str, Any]:
    """Return the images per second of each reader in each order, and the ratios."""
    data, augment = KINDS[kind]()
    count = READ["28x28"]
    folder = generate_shards(data, augment, where, num_samples=count, shard_size=1024, seed=SEED, compression="gzip")
    shards = ShardDataset(folder)
    readers: dict[str, Callable[[list[int]], Any]] = {
        "shards": lambda numbers: shards[numbers][0],
        "h5py, rows": ByH5py(folder, 1024, whole_chunks=False).__getitem__,
        "h5py, chunks": ByH5py(folder, 1024, whole_chunks=True).__getitem__,
    }
    orders = {
        "in order": np.arange(count),
        "shuffled": np.random.default_rng(SEED).permutation(count),
        "by blocks": np.array([*BlockSampler(shards, window=64, seed=SEED)]),
    }
    found: dict[str, Any] = {}
    for name, order in orders.items():
        for size, numbers in ((BATCH, order), (1, order[:ONE_BY_ONE])):
            batches = [numbers[start : start + size].tolist() for start in range(0, len(numbers), size)]
            assert all(torch.equal(reader(batches[3]), readers["shards"](batches[3])) for reader in readers.values())
            seconds = in_turn(
                {who: functools.partial(_read, reader, batches) for who, reader in readers.items()}, rounds
            )
            for who, times in seconds.items():
                found[f"{name}, {size} at once, {who}"] = {
                    "images per second": len(numbers) / sorted(times)[len(times) // 2],
                    "shards / this": ratio(times, seconds["shards"]),
                }
    return found


def _read(reader: Callable[[list[int]], Any], batches: list[list[int]], number: int) -> None:
    for batch in batches:
        reader(batch)


def peaks(where: Path) -> dict[str, float]:
    """Return the growth of the peak memory in MiB for each reader. `ShardDataset` refuses the chunk and runs first."""
    path = where / "bomb.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (1 << 16,), "u1", chunks=(1 << 16,), compression="gzip")
        file["x"].id.write_direct_chunk((0,), zlib.compress(bytes(BOMB), 9))
    with h5py.File(path) as file:
        rows = rows_of(path, stored_in(file, "x", path.stat().st_size), BlockCache())
    before, found = _peak(), {}
    try:
        rows[np.arange(10)]
        raise AssertionError("the bomb was read")
    except ShardError:
        found["shards"] = _peak() - before
    with h5py.File(path) as file:
        file["x"][:10]
    found["h5py"] = _peak() - before
    return found


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as where:
        grown = peaks(Path(where))
        rows = {kind: speed(kind, asked.rounds, Path(where) / kind) for kind in KINDS}
    lines = [
        "| | " + " | ".join(f"{kind}, per second | shards / this" for kind in rows) + " |",
        "|---|" + "---|---|" * len(rows),
    ]
    for name in next(iter(rows.values())):
        cells = [f"{row[name]['images per second']:,.0f} | {row[name]['shards / this']:.2f}" for row in rows.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += [
        "",
        f"A chunk of 64 KiB that unpacks to 64 MiB is refused, and the peak memory grows by {grown['shards']:.0f} MiB;",
        f"h5py reads it, and the peak grows by {grown['h5py']:.0f} MiB.",
    ]
    print("\n".join(lines))
    packages = {name: version(name) for name in ("h5py", "numpy")}
    record("chunks", {"rounds": asked.rounds, "batch": BATCH, "packages": packages}, {"speed": rows, "MiB": grown})
    draw_table("chunks", lines)


if __name__ == "__main__":
    main()
