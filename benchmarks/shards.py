"""Speed of generating and reading shards.

    python benchmarks/shards.py

"28x28": images of MNIST's size by the pretrained `mnist` autoencoder, where decoding is slower than writing.
"32x32x3": images of CIFAR's size by an autoencoder whose latents are the pixels, where decoding costs little. The
source images come with scikit-learn.

Generating: decoding alone (fetch the real images, `synthesize` in micro-batches), writing alone (encode, hash, write,
flush), both at the same time in two processes, which shows what the cores allow, and `generate_shards`. Reading: an
epoch over images in shards, in the same HDF5 files by h5py, as PNG files by torchvision's `ImageFolder`, as PNG in
tar files by webdataset, and copied batch by batch from one array in memory; in this process, with one thread, from
the page cache, to uint8 tensors and labels. Batches are read for 20 epochs from files that are opened once; "first
epoch" opens them each time, including the check of each shard. All are measured in turn, round after round; a ratio
is the median of the ratios per round. The allocator keeps freed memory (`common.KEPT_MEMORY`), because otherwise the
speed of decoding depends on what ran before.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
import webdataset
from common import KEPT_MEMORY, draw_table, keep_memory, record
from PIL import Image
from sklearn.datasets import load_sample_images
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import pil_to_tensor

from augmentor import LatentAugment, ShardDataset, generate_shards
from augmentor._internal.datasets import fetch
from augmentor._internal.files import write_bytes
from augmentor.autoencoders import Autoencoder
from augmentor.data import ArrayDataset, load_source
from augmentor.shards import encode_shard

BATCH, MICRO_BATCH, SEED = 256, 64, 0
ALLOWED = {"generate": 1.05, "copy": 1.0, "sequential": 0.8, "shuffled": 0.6}


class Pixels(Autoencoder):
    """Autoencoder of almost no cost, whose latents are the pixels."""

    name = "pixels"

    def __init__(self, image_shape: tuple[int, int, int]):
        super().__init__(image_shape, image_shape, "gaussian", "none")

    def _encode(self, images: torch.Tensor) -> tuple[torch.Tensor, None]:
        return images, None

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        return latents


def digits() -> tuple[ArrayDataset, LatentAugment]:
    """Return the 1,797 digits at MNIST's size, and a transform with the autoencoder `mnist`."""
    source = load_source("digits")
    images = v2.Resize((28, 28), antialias=True)(source.images)
    return ArrayDataset(images, source.targets, source.classes), LatentAugment("mnist", "gaussian(std=0.5)", p=1.0)


def photographs() -> tuple[ArrayDataset, LatentAugment]:
    """Return 32x32 squares of two photographs, class 0 a temple, 1 a flower, and noise below one grey level."""
    squares, labels = [], []
    for label, photograph in enumerate(load_sample_images().images):
        cut = torch.from_numpy(photograph.copy()).unfold(0, 32, 16).unfold(1, 32, 16).flatten(0, 1)
        squares.append(cut)
        labels.append(torch.full((len(cut),), label))
    data = ArrayDataset(torch.cat(squares), torch.cat(labels), ["temple", "flower"])
    return data, LatentAugment(Pixels((3, 32, 32)), "gaussian(std=0.001)", p=1.0).fit(data)


KINDS = {"28x28": digits, "32x32x3": photographs}
# Where writing takes long there are many shards, because the last one is written after all decoding.
GENERATED = {"28x28": 8192, "32x32x3": 131_072}
READ = {"28x28": 8192, "32x32x3": 32_768}


# ---------------------------------------------------------------------------- generating


def decode(data: ArrayDataset, augment: LatentAugment, count: int) -> None:
    """Decode all samples of the plan, from real images to uint8, without keeping them."""
    with torch.no_grad():
        for start in range(0, count, MICRO_BATCH):
            numbers = np.arange(start, min(start + MICRO_BATCH, count))
            rows, copies = numbers % len(data), numbers // len(data)
            images, labels = fetch(data, rows.tolist())
            augment.synthesize(images, labels, indices=rows, draw_index=copies, seed=SEED, epoch=0)


def write(shards: list[tuple[str, dict[str, np.ndarray], dict[str, Any]]], folder: Path) -> None:
    """Write arrays: HDF5, hash, disk."""
    for name, arrays, attributes in shards:
        encoded = encode_shard(arrays, attributes)
        hashlib.sha256(encoded)
        write_bytes(folder / name, encoded)


def both(decoding: Callable[[], None], writing: Callable[[], None]) -> None:
    """Decode and write in two independent processes: the best overlap that this machine allows."""
    writer = multiprocessing.get_context("fork").Process(target=writing)
    writer.start()
    decoding()
    writer.join()
    assert writer.exitcode == 0


def arrays_of(folder: Path) -> list[tuple[str, dict[str, np.ndarray], dict[str, Any]]]:
    """Return the arrays and attributes of the shards of a folder."""
    manifest, shards = ShardDataset(folder).manifest, []
    for number, entry in enumerate(manifest.shards):
        with h5py.File(folder / entry.file) as file:
            attributes = {**manifest.settings(), "count": entry.count, "shard": number}
            shards.append((entry.file, {name: file[name][:] for name in file}, attributes))
    return shards


def generate(data: ArrayDataset, augment: LatentAugment, count: int, folder: Path) -> Path:
    """Generate this number of samples."""
    return generate_shards(data, augment, folder, num_samples=count, seed=SEED, micro_batch=MICRO_BATCH, progress=False)


def make(kind: str, rounds: int, where: Path) -> dict[str, Any]:
    """Return the times of generating shards of this kind, and of its parts."""
    (data, augment), count = KINDS[kind](), GENERATED[kind]
    folder = generate(data, augment, count, where / "shards")  # also warms up
    shards, again = arrays_of(folder), where / "again"
    write(shards, again)
    assert all((again / name).read_bytes() == (folder / name).read_bytes() for name, _, _ in shards)
    contenders = {
        "decode alone": lambda number: decode(data, augment, count),
        "write alone": lambda number: write(shards, where / f"write-{number}"),
        "decode and write, two processes": lambda number: both(
            partial(decode, data, augment, count), partial(write, shards, where / f"both-{number}")
        ),
        "generate": lambda number: generate(data, augment, count, where / f"generate-{number}"),
    }
    seconds = in_turn(contenders, rounds)
    larger = [max(pair) for pair in zip(seconds["decode alone"], seconds["write alone"], strict=True)]
    return {
        **{name: statistics.median(times) for name, times in seconds.items()},
        "samples": count,
        "bytes": sum((folder / name).stat().st_size for name, _, _ in shards),
        "generate / larger": ratio(seconds["generate"], larger),
        "two processes / larger": ratio(seconds["decode and write, two processes"], larger),
        "seconds": seconds,
    }


# ---------------------------------------------------------------------------- reading


def slices(order: np.ndarray) -> Iterator[list[int]]:
    """Yield the order in batches."""
    for start in range(0, len(order), BATCH):
        yield order[start : start + BATCH].tolist()


def copy_memory(arrays: tuple[np.ndarray, np.ndarray], epochs: int) -> Iterator[Any]:
    """Copy batches from arrays in memory: batches of tensors."""
    for _ in range(epochs):
        for start in range(0, len(arrays[0]), BATCH):
            images, labels = (array[start : start + BATCH].copy() for array in arrays)
            yield torch.from_numpy(images), torch.from_numpy(labels)


def read_shards(folder: Path, epochs: int) -> Iterator[Any]:
    """Read by `ShardDataset` with slices: batches of tensors."""
    data = ShardDataset(folder)
    for _ in range(epochs):
        for start in range(0, len(data), BATCH):
            yield data[start : start + BATCH]


def read_shards_as(folder: Path, order: np.ndarray, epochs: int) -> Iterator[Any]:
    """Read by `ShardDataset` with lists of numbers, like a loader with a batch sampler: batches of tensors."""
    data = ShardDataset(folder)
    for _ in range(epochs):
        for batch in slices(order):
            yield data[batch]


def read_shards_as_items(folder: Path, order: np.ndarray) -> Iterator[Any]:
    """Read by `ShardDataset` with lists of numbers, like a loader of items: lists of samples."""
    data = ShardDataset(folder)
    for batch in slices(order):
        yield data.__getitems__(batch)


def read_shards_singly(folder: Path, order: np.ndarray) -> Iterator[Any]:
    """Read by `ShardDataset`, one sample per call."""
    data = ShardDataset(folder)
    for number in order.tolist():
        yield data[number]


@contextlib.contextmanager
def h5py_arrays(folder: Path) -> Iterator[list[tuple[h5py.Dataset, h5py.Dataset]]]:
    """Open images and labels of every file of a folder."""
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(h5py.File(path)) for path in sorted(folder.glob("*.h5"))]
        yield [(file["images"], file["labels"]) for file in files]


def read_h5py(folder: Path, epochs: int) -> Iterator[Any]:
    """Read by h5py with slices: batches of tensors."""
    with h5py_arrays(folder) as arrays:
        for images, labels in arrays * epochs:
            for start in range(0, len(images), BATCH):
                yield torch.from_numpy(images[start : start + BATCH]), torch.from_numpy(labels[start : start + BATCH])


def read_h5py_as_items(folder: Path) -> Iterator[Any]:
    """Read by h5py with slices, split into a tensor and a number per sample like `ShardDataset`."""
    for images, labels in read_h5py(folder, 1):
        yield list(zip(images, labels.tolist(), strict=True))


def read_h5py_singly(folder: Path) -> Iterator[Any]:
    """Read by h5py, one sample per call."""
    with h5py_arrays(folder) as arrays:
        for images, labels in arrays:
            for row in range(len(images)):
                yield torch.from_numpy(images[row]), int(labels[row])


def read_image_folder(folder: Path, order: np.ndarray) -> Iterator[Any]:
    """Read by `ImageFolder`, one file per sample."""
    data = ImageFolder(str(folder), transform=pil_to_tensor, loader=open_png)
    for number in order.tolist():
        yield data[number]


def open_png(path: str) -> Image.Image:
    """Open an image as it was saved, grey or RGB; `ImageFolder` converts to RGB by default."""
    with Image.open(path) as image:
        image.load()
        return image


def read_webdataset(folder: Path, shuffle: int) -> Iterator[Any]:
    """Read by webdataset, in the order of the files or through a buffer of `shuffle` samples."""
    files = sorted(str(path) for path in folder.glob("*.tar"))
    data = webdataset.WebDataset(files, shardshuffle=len(files) if shuffle else False, seed=SEED)
    data = data.shuffle(shuffle, seed=SEED) if shuffle else data
    return iter(data.map(decode_sample))


def decode_sample(sample: dict[str, Any]) -> tuple[torch.Tensor, int]:
    """Convert PNG bytes and the digits of a label to a tensor and a number."""
    return pil_to_tensor(Image.open(io.BytesIO(sample["png"]))), int(sample["cls"])


def copies_of(folder: Path, where: Path) -> tuple[Path, Path]:
    """Write the same images as PNG in class folders, and as PNG in tar files of the size of a shard."""
    data, files, tars = ShardDataset(folder), where / "png", where / "tar"
    tars.mkdir(parents=True)
    for shard in range(data.manifest.num_shards):
        with webdataset.TarWriter(str(tars / f"{shard:05d}.tar"), mtime=0) as tar:
            for number in data.manifest.samples(shard):
                image, label = data[number]
                buffer = io.BytesIO()
                Image.fromarray(image.squeeze().numpy() if len(image) == 1 else image.permute(1, 2, 0).numpy()).save(
                    buffer, "png"
                )
                path = files / f"{label:02d}" / f"{number:06d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(buffer.getvalue())
                tar.write({"__key__": f"{number:06d}", "png": buffer.getvalue(), "cls": str(label)})
    return files, tars


def read(kind: str, folder: Path, rounds: int, where: Path) -> dict[str, Any]:
    """Return the images per second of every reader."""
    files, tars = copies_of(folder, where)
    in_order = np.arange(READ[kind])
    parts = [arrays for _, arrays, _ in arrays_of(folder)]
    memory = tuple(np.concatenate([part[name] for part in parts]) for name in ("images", "labels"))
    shuffled = np.random.default_rng(SEED).permutation(in_order)
    once: dict[str, Callable[[int], Iterator[Any]]] = {
        "copy of memory, batches": lambda epochs: copy_memory(memory, epochs),
        "h5py, batches": lambda epochs: read_h5py(folder, epochs),
        "shards, batches": lambda epochs: read_shards(folder, epochs),
        "shards, batches, numbers in order": lambda epochs: read_shards_as(folder, in_order, epochs),
        "shards, batches, shuffled": lambda epochs: read_shards_as(folder, shuffled, epochs),
    }
    anew: dict[str, Callable[[], Iterator[Any]]] = {
        "h5py, batches, first epoch": lambda: read_h5py(folder, 1),
        "shards, batches, first epoch": lambda: read_shards(folder, 1),
        "h5py, items": lambda: read_h5py_as_items(folder),
        "shards, items, sequential": lambda: read_shards_as_items(folder, in_order),
        "shards, items, shuffled": lambda: read_shards_as_items(folder, shuffled),
        "h5py, one sample per call": lambda: read_h5py_singly(folder),
        "shards, one sample per call, sequential": lambda: read_shards_singly(folder, in_order),
        "shards, one sample per call, shuffled": lambda: read_shards_singly(folder, shuffled),
        "ImageFolder, sequential": lambda: read_image_folder(files, in_order),
        "ImageFolder, shuffled": lambda: read_image_folder(files, shuffled),
        "webdataset, sequential": lambda: read_webdataset(tars, 0),
        "webdataset, shuffled": lambda: read_webdataset(tars, 1000),
    }
    readers = {**once, **{name: partial(opened_anew, open_it) for name, open_it in anew.items()}}
    assert_same_images(readers)
    seconds = in_turn({name: partial(consume, reader, epochs(name)) for name, reader in readers.items()}, rounds)
    seconds = {name: [time / epochs(name) for time in times] for name, times in seconds.items()}
    return {
        "images per second": {name: READ[kind] / statistics.median(times) for name, times in seconds.items()},
        "batches, sequential / copy of memory": ratio(seconds["copy of memory, batches"], seconds["shards, batches"]),
        "batches, sequential / h5py": ratio(seconds["h5py, batches"], seconds["shards, batches"]),
        "batches, shuffled / in order": ratio(
            seconds["shards, batches, numbers in order"], seconds["shards, batches, shuffled"]
        ),
        "batches, first epoch / h5py": ratio(
            seconds["h5py, batches, first epoch"], seconds["shards, batches, first epoch"]
        ),
        "items, sequential / h5py": ratio(seconds["h5py, items"], seconds["shards, items, sequential"]),
        "items, shuffled / sequential": ratio(seconds["shards, items, sequential"], seconds["shards, items, shuffled"]),
        "one sample per call, sequential / h5py": ratio(
            seconds["h5py, one sample per call"], seconds["shards, one sample per call, sequential"]
        ),
        "one sample per call, shuffled / sequential": ratio(
            seconds["shards, one sample per call, sequential"], seconds["shards, one sample per call, shuffled"]
        ),
        **{
            f"one sample per call, {order} / {other}": ratio(
                seconds[f"{other}, {order}"], seconds[f"shards, one sample per call, {order}"]
            )
            for other in ("ImageFolder", "webdataset")
            for order in ("sequential", "shuffled")
        },
        "seconds": seconds,
    }


def epochs(reader: str) -> int:
    """Return the number of epochs of a measurement; fast readers need more for stable times."""
    return 1 if "ImageFolder" in reader or "webdataset" in reader else 2 if "one sample per call" in reader else 20


def opened_anew(open_it: Callable[[], Iterator[Any]], epochs: int) -> Iterator[Any]:
    """Read with files that are opened in every epoch."""
    for _ in range(epochs):
        yield from open_it()


def consume(reader: Callable[[int], Iterator[Any]], epochs: int, number: int) -> None:
    """Read all samples for this many epochs."""
    for _ in reader(epochs):
        pass


def assert_same_images(readers: dict[str, Callable[[int], Iterator[Any]]]) -> None:
    """Check that every reader returns the same images and labels, in any order."""
    digests = {name: sorted(_digests(reader(1))) for name, reader in readers.items()}
    assert all(found == digests["h5py, batches"] for found in digests.values()), "the readers disagree"


def _digests(samples: Iterator[Any]) -> Iterator[str]:
    for found in samples:
        batch = found if isinstance(found, list) else zip(*found, strict=True) if found[0].ndim == 4 else [found]
        for image, label in batch:
            yield f"{hashlib.sha256(np.ascontiguousarray(image)).hexdigest()} {int(label)}"


# ---------------------------------------------------------------------------- measuring


def in_turn(contenders: dict[str, Callable[[int], Any]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each contender in each round, measured in turn, so that load on the machine slows all."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, contender in contenders.items():
            begin = time.perf_counter()
            contender(number)
            seconds[name].append(time.perf_counter() - begin)
    return seconds


def ratio(above: list[float], below: list[float]) -> float:
    """Return the median of the ratios per round."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def table(rows: dict[str, Any]) -> list[str]:
    """Return the lines for benchmarks/README.md."""
    lines = ["| | " + " | ".join(rows) + " | wanted |", "|---|" + "---|" * (len(rows) + 1)]

    def line(name: str, values: list[str], wanted: str = "") -> None:
        lines.append(f"| {name} | " + " | ".join(values) + f" | {wanted} |")

    for name in ("decode alone", "write alone", "decode and write, two processes", "generate"):
        line(
            f"{name}, images per second",
            [f"{row['make']['samples'] / row['make'][name]:,.0f}" for row in rows.values()],
        )
    line(
        "two processes / the larger of both, time",
        [f"{row['make']['two processes / larger']:.2f}" for row in rows.values()],
    )
    line(
        "**generate / the larger of both, time**",
        [f"{row['make']['generate / larger']:.2f}" for row in rows.values()],
        f"≤ {ALLOWED['generate']}",
    )
    for name in next(iter(rows.values()))["read"]["images per second"]:
        line(f"{name}, images per second", [f"{row['read']['images per second'][name]:,.0f}" for row in rows.values()])
    wanted = {"batches, sequential / h5py": ALLOWED["sequential"]}
    wanted["batches, sequential / copy of memory"] = ALLOWED["copy"]
    wanted["one sample per call, sequential / h5py"] = ALLOWED["sequential"]
    wanted["one sample per call, shuffled / sequential"] = ALLOWED["shuffled"]
    for name, value in next(iter(rows.values()))["read"].items():
        if isinstance(value, float):
            line(
                f"**{name}, speed**",
                [f"{row['read'][name]:.2f}" for row in rows.values()],
                f"≥ {wanted[name]}" if name in wanted else "",
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    keep_memory()
    torch.set_num_threads(asked.threads)
    rows = {}
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as where:
            rows[kind] = {"make": make(kind, asked.rounds, Path(where))}
        with tempfile.TemporaryDirectory() as where:
            folder = generate(*KINDS[kind](), READ[kind], Path(where) / "shards")
            rows[kind] |= {"samples": READ[kind], "read": read(kind, folder, asked.rounds, Path(where))}
    lines = table(rows)
    print("\n".join(lines))
    settings = {
        "rounds": asked.rounds, "batch": BATCH, "micro_batch": MICRO_BATCH, "seed": SEED, "allowed": ALLOWED,
        "environment": KEPT_MEMORY,
    }  # fmt: skip
    packages = {name: version(name) for name in ("h5py", "webdataset", "pillow")}
    record("shards", {**settings, "packages": packages}, rows)
    draw_table("shards", lines)


if __name__ == "__main__":
    main()
