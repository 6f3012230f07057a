"""Thousands of damaged shards, manifests, weights and third-party HDF5 files: each is read correctly or refused.

A refusal is a typed error, without a crash, a hang, a file outside the folder, or more memory than the content needs.

    python benchmarks/faults/fuzz.py

Files are damaged by `mutations.py` and read in separate processes with a limited address space. The peak memory is read
after each file, so a crash, a hang or a large allocation is attributed to its file.

"Read correctly" means, per kind:
  shard, hashed     `ShardDataset(verify=True)`, manifest unchanged: the content is that of the intact file
  shard, forged     hash and size in the manifest match the damage: the content is what h5py reads, or that of the
                    intact file
  shard, unhashed   `ShardDataset(verify=False)`, manifest unchanged; damaged pixels are not detected and are counted
  manifest          the content is that of the files, and the manifest has the values of its JSON
  weights           the tensors are those of the file
  weights, forged   as before; the checksum inside matches other settings
  HDF5 of others    as shard, forged
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import gc
import hashlib
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent))
sys.path.append(str(Path(__file__).resolve().parent.parent))

import h5py
import mutations
import numpy as np
import torch
from common import draw_table, record

from augmentor._internal.datasets import fetch
from augmentor._internal.random import seeded
from augmentor._internal.weights import fingerprint, load_network, save_network
from augmentor.autoencoders import autoencoders
from augmentor.data import HDF5Dataset
from augmentor.exceptions import AugmentorError
from augmentor.shards import Manifest, ShardDataset, ShardEntry, encode_shard, read_manifest

ROWS, SHAPE, LATENT = 200, (3, 16, 16), (48,)
SECONDS = 20  # per file; intact files take milliseconds
ROOM = 64 << 20  # bytes of address space beyond those at the start of a file
ALLOWANCE = 8 << 20  # bytes of peak memory beyond twice the content, for code loaded on first use and class names
UNSEEN = "shard (contiguous), unhashed"  # damaged pixels are not detected


class Misread(Exception):
    """The content that was read is not that of the file."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of file: its mutations and its reader. `read` raises errors of the package, or `Misread`."""

    name: str
    source: Path  # the folder with the intact file
    file: str
    mutations: Sequence[mutations.Mutation]
    read: Callable[[Path], None]
    declared: int  # bytes of content
    prepare: Callable[[Path], None] = lambda folder: None


def kinds(root: Path) -> list[Kind]:
    """Write the intact files; return all kinds."""
    found = []
    for name, compression, store, soft in (
        ("contiguous", "none", "images", False),
        ("gzip", "gzip", "images", True),
        ("latents, gzip", "gzip", "latents", False),
    ):
        folder = root / name
        arrays = _shards(folder, compression, store, soft)
        declared = sum(array.nbytes for array in arrays.values())
        data = (folder / "shard-00000.h5").read_bytes()
        damage = (*mutations.BLIND, mutations.Sealed(data), mutations.Sealed(data))
        for way, read, prepare in (
            ("hashed", lambda where, arrays=arrays: _compare(_shard_content(where, verify=True), arrays), _nothing),
            (
                "forged",
                lambda where, arrays=arrays: _compare_with_h5py(
                    _shard_content(where), where / "shard-00000.h5", arrays
                ),
                _forge,
            ),
            ("unhashed", lambda where, arrays=arrays: _compare(_shard_content(where), arrays), _nothing),
        ):
            found.append(Kind(f"shard ({name}), {way}", folder, "shard-00000.h5", damage, read, declared, prepare))
        json_damage = (*mutations.BLIND, mutations.json_number, mutations.json_number, mutations.json_number)
        if name == "contiguous":
            found.append(
                Kind(
                    "manifest", folder, "manifest.json", json_damage, lambda w, a=arrays: _read_manifest(w, a), declared
                )
            )
    found += [_weights(root / "weights", forged) for forged in (False, True)]
    found += [_foreign(root / f"foreign {i}", **options) for i, options in enumerate(FOREIGN)]
    return found


FOREIGN: tuple[dict[str, Any], ...] = (
    {"libver": "earliest"},
    {"libver": "latest", "chunks": (32, 8, 16, 3), "compression": "gzip", "shuffle": True, "fletcher32": True},
    {"libver": "earliest", "chunks": (64, 16, 16, 3), "compression": "gzip"},
)


def _shards(folder: Path, compression: str, store: str, soft: bool) -> dict[str, np.ndarray]:
    """Write a folder with one shard; return its arrays."""
    draw = np.random.default_rng(0)
    labels = draw.random((ROWS, 3), np.float32) if soft else draw.integers(0, 3, ROWS)
    smooth = np.repeat(draw.integers(0, 256, (ROWS, 3, 16, 1), np.uint8), 16, axis=3)
    content = smooth if store == "images" else draw.standard_normal((ROWS, *LATENT), np.float32)
    arrays = {
        store: content,
        "labels": labels,
        "source_index": np.arange(ROWS)[:, None],
        "copy": np.zeros(ROWS, np.int32),
    }
    manifest = Manifest(
        num_samples=ROWS, shard_size=ROWS, seed=0, epoch=0, policy="gaussian(std=0.5)", autoencoder="dense",
        autoencoder_sha256=fingerprint(_network().state_dict()), dataset_fingerprint="b" * 64, fitted_sha256=None,
        micro_batch=64, device="cpu", precision="fp32", image_shape=SHAPE, labels="soft" if soft else "int64",
        class_names=("a", "b", "c"), compression=compression, package_version="0.1.0", store=store,
        latent_shape=LATENT if store == "latents" else None,
    )  # fmt: skip
    data = encode_shard(arrays, {**manifest.settings(), "count": ROWS, "shard": 0}, compression)
    folder.mkdir(parents=True)
    (folder / "shard-00000.h5").write_bytes(data)
    entry = ShardEntry("shard-00000.h5", ROWS, hashlib.sha256(data).hexdigest(), len(data))
    manifest.with_shards(entry).write(folder / "manifest.json")
    return arrays


def _network() -> Any:
    with seeded(0, "weights"):
        return autoencoders.get("dense")(SHAPE, latent_dim=LATENT[0], hidden=(64,)).eval()


def _weights(folder: Path, forged: bool) -> Kind:
    folder.mkdir(parents=True, exist_ok=True)
    path, network = folder / "model.safetensors", _network()
    save_network(network, path, {"loss": 0.5})
    expected = fingerprint(network.state_dict())
    damage = (mutations.weights_config,) if forged else (*mutations.BLIND, mutations.weights_header)

    def read(where: Path) -> None:
        network = load_network(where / "model.safetensors", "autoencoder", autoencoders.members)
        if fingerprint(network.state_dict()) != expected:
            raise Misread("the tensors differ")

    name = "weights, forged" if forged else "weights"
    return Kind(name, folder, "model.safetensors", damage, read, path.stat().st_size)


def _foreign(folder: Path, libver: str, **options: Any) -> Kind:
    folder.mkdir(parents=True)
    path, draw = folder / "a.h5", np.random.default_rng(0)
    images = np.repeat(draw.integers(0, 256, (ROWS, 16, 1, 3), np.uint8), 16, axis=2)
    intact = {"images": images, "labels": draw.integers(0, 3, ROWS)}
    with h5py.File(path, "w", libver=libver) as file:
        file.create_dataset("images", data=images, **options)
        file.create_dataset("labels", data=intact["labels"])
    damage: tuple[mutations.Mutation, ...] = mutations.BLIND
    if libver == "latest":
        damage = (*damage, mutations.Sealed(path.read_bytes()), mutations.Sealed(path.read_bytes()))

    def read(where: Path) -> None:
        pixels, labels = fetch(HDF5Dataset(where / "a.h5"), range(ROWS))
        content = {"images": pixels.permute(0, 2, 3, 1).numpy(), "labels": labels.numpy()}
        _compare_with_h5py(content, where / "a.h5", intact)

    kind = "contiguous" if "chunks" not in options else "gzip"
    return Kind(f"HDF5 of others ({kind}, {libver})", folder, "a.h5", damage, read, images.nbytes + 8 * ROWS)


def _nothing(folder: Path) -> None:
    pass


def _forge(folder: Path) -> None:
    """Write a manifest that matches the damaged shard."""
    manifest, data = read_manifest(folder / "manifest.json"), (folder / "shard-00000.h5").read_bytes()
    if data:
        entry = ShardEntry("shard-00000.h5", ROWS, hashlib.sha256(data).hexdigest(), len(data))
        manifest.with_shards(entry).write(folder / "manifest.json")


def _shard_content(folder: Path, verify: bool = False) -> dict[str, np.ndarray]:
    """Return all arrays, in batches as a loader reads them; with stored latents, the latents to decode."""
    manifest = read_manifest(folder / "manifest.json")
    network = _network() if manifest.store == "latents" else None
    dataset = ShardDataset(folder, verify=verify, autoencoder=network)
    fetch(dataset, range(64))
    parts = [dataset._read(np.arange(i, i + 64) % ROWS) for i in range(0, ROWS, 64)]
    shard = dataset._shard(0)
    return {
        manifest.store: np.concatenate([content for content, _ in parts])[:ROWS],
        "labels": np.concatenate([labels for _, labels in parts])[:ROWS],
        "source_index": shard.source_index,
        "copy": shard.draw_index,
    }


def _by_h5py(path: Path, names: Sequence[str]) -> dict[str, np.ndarray] | None:
    """Return what h5py reads, or None if it fails; in a fork, because it may crash on damaged files."""

    def work() -> dict[str, np.ndarray]:
        with h5py.File(path, locking=False) as file:
            return {name: file[name][()] for name in names}

    return _forked(work)[0]


def _forked(work: Callable[[], Any]) -> tuple[Any, int]:
    import pickle

    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            with open(writer, "wb") as out:
                pickle.dump(work(), out)
            os._exit(0)
        except BaseException:
            os._exit(1)
    os.close(writer)
    with open(reader, "rb") as source:
        answer = source.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return (pickle.loads(answer) if status == 0 else None), status


def _compare_with_h5py(found: dict[str, np.ndarray], path: Path, intact: dict[str, np.ndarray]) -> None:
    """Compare with the intact file or with h5py, which reads zeros without error for a damaged chunk index."""
    try:
        _compare(found, intact)
    except Misread:
        there = _by_h5py(path, list(found))
        if there is None:
            raise Misread("h5py cannot read the file") from None
        _compare(found, there)


def _compare(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    for name, array in expected.items():
        if not (found[name].shape == array.shape and found[name].tobytes() == array.tobytes()):
            raise Misread(f"{name} differs")


def _read_manifest(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    _compare(_shard_content(folder, verify=True), arrays)
    said = json.loads((folder / "manifest.json").read_bytes())
    if json.loads(json.dumps(read_manifest(folder / "manifest.json").document())) != said:
        raise Misread("the manifest differs from its JSON")


# ---------------------------------------------------------------------------- processes


def damaged(kind: Kind, seed: int, number: int, folder: Path) -> str:
    """Write file `number` of a kind into `folder`, in place of its content; return the name of the mutation.

    Number -1 is the intact file.
    """
    draw = random.Random(f"{seed} {kind.name} {number}")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(kind.source, folder)
    mutation = kind.mutations[number % len(kind.mutations)]
    path = folder / kind.file
    if number >= 0:
        path.write_bytes(mutation(draw, path.read_bytes()))
        kind.prepare(folder)
    return getattr(mutation, "__name__", "sealed")


def attempt(kind: Kind, folder: Path) -> dict[str, Any]:
    """Read the file in `folder`; return the outcome and the growth of the peak memory in bytes."""
    before = {path.name for path in folder.iterdir()}
    opened: list[str] = []
    _watch(opened)
    base = _reset_peak()
    try:
        kind.read(folder)
        outcome, detail = "read", ""
    except AugmentorError as error:
        outcome, detail = "refused", type(error).__name__
    except Misread as error:
        outcome, detail = "misread", str(error)
    except MemoryError as error:
        outcome, detail = "memory", str(error)
    except Exception as error:
        outcome, detail = "error", f"{type(error).__name__}: {error}"
    grown = _peak() - base
    _watch(None)
    if {path.name for path in folder.iterdir()} != before or any(_outside(path, folder) for path in opened):
        outcome, detail = "outside", str(opened)
    if grown > 2 * kind.declared + ALLOWANCE:
        outcome, detail = "memory", f"{grown} bytes, {outcome}"
    return {"outcome": outcome, "detail": detail[:300], "grown": grown}


_opened: list[str] | None = None


def _watch(paths: list[str] | None) -> None:
    global _opened
    _opened = paths


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _opened is not None and isinstance(arguments[0], (str, bytes)):
        _opened.append(os.fsdecode(arguments[0]))


def _outside(path: str, folder: Path) -> bool:
    """Return whether an opened path is outside the folder, Python, this repository and /proc."""
    real = os.path.realpath(path)
    ours = (str(folder), sys.prefix, sys.base_prefix, "/proc", str(Path(torch.__file__).parent.parent),
            str(Path(__file__).resolve().parent.parent.parent))  # fmt: skip
    return not real.startswith(ours)


def _reset_peak() -> int:
    """Return the current memory, after freed memory is returned, so that new allocations are measured."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak() -> int:
    return _status("VmHWM")


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def worker(kind: Kind, numbers: Sequence[int], seed: int, folder: Path, answers: int) -> None:
    """Read these files in order and report each result; before them the intact file three times, to warm up."""
    sys.addaudithook(_note)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    gc.freeze()  # existing objects need not be collected after every file
    for number in [-1, -1, -1, *numbers]:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        mutation = damaged(kind, seed, number, folder)
        resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + ROOM, resource.RLIM_INFINITY))
        answer = {"number": number, "mutation": mutation, **attempt(kind, folder)}
        os.write(answers, json.dumps(answer).encode() + b"\n")


def run(kind: Kind, count: int, seed: int, folder: Path) -> list[dict[str, Any]]:
    """Return all results. After a crash or a hang a new process continues with the next file."""
    answers: list[dict[str, Any]] = []
    following = 0
    while following < count:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            try:
                worker(kind, range(following, count), seed, folder, writer)
            finally:
                os._exit(0)
        os.close(writer)
        buffer = b""
        while True:
            ready, _, _ = select.select([reader], [], [], SECONDS)
            part = os.read(reader, 1 << 16) if ready else b""
            *lines, buffer = (buffer + part).split(b"\n")
            answers += [json.loads(line) for line in lines]
            if not part:
                break
        os.close(reader)
        if not ready:
            os.kill(child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        following = max([following, *(answer["number"] + 1 for answer in answers)])
        if following < count:
            answers.append({"number": following, "mutation": "?", "outcome": "crash" if ready else "hang",
                            "detail": f"ended with {status}", "grown": 0})  # fmt: skip
            following += 1
    return answers


def summary(kind: Kind, everything: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one row of the table."""
    intact = [answer for answer in everything if answer["number"] < 0]
    answers = [answer for answer in everything if answer["number"] >= 0]
    if not intact or intact[-1]["outcome"] != "read":
        raise SystemExit(f"the intact file of {kind.name!r} cannot be read: {intact}")
    counts = Counter(answer["outcome"] for answer in answers)
    return {
        "files": len(answers),
        **{
            name: counts[name] for name in ("read", "refused", "misread", "error", "crash", "hang", "memory", "outside")
        },
        "declared_bytes": kind.declared,
        "peak_bytes": max(answer["grown"] for answer in answers),
        "peak_of_intact_bytes": intact[-1]["grown"],
        "by_mutation": {
            name: dict(Counter(a["outcome"] for a in answers if a["mutation"] == name))
            for name in sorted({answer["mutation"] for answer in answers})
        },
        "faults": [answer for answer in answers if answer["outcome"] not in ("read", "refused")][:20],
    }


def fuzz(count: int, seed: int, only: str = "") -> dict[str, dict[str, Any]]:
    """Read `count` files of each kind; return the rows of the table."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root).resolve()
        chosen = [kind for kind in kinds(folder) if only in kind.name]
        return {kind.name: summary(kind, run(kind, count, seed, folder / "trial")) for kind in chosen}


def table(rows: dict[str, dict[str, Any]]) -> list[str]:
    """Return Markdown lines; the last columns are kilobytes: content, peak of the intact file, highest peak."""
    columns = ("files", "read", "refused", "misread", "error", "crash", "hang", "memory", "outside")
    sizes = ("declared_bytes", "peak_of_intact_bytes", "peak_bytes")
    head = ["damaged", *columns, "content, KB", "intact peak", "highest peak"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for name, row in rows.items():
        cells = [name, *(row[column] for column in columns), *(row[size] // 1000 for size in sizes)]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=800, help="number of files of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="only kinds whose name contains this text; results are not recorded")
    options = parser.parse_args()
    started = time.monotonic()
    rows = fuzz(options.count, options.seed, options.only)
    for name, row in rows.items():
        for fault in row["faults"][: 0 if name == UNSEEN else 5]:
            print(name, fault)
    lines = table(rows)
    print("\n".join(lines))
    print(f"{sum(row['files'] for row in rows.values())} files in {time.monotonic() - started:.0f} s")
    if not options.only:
        record("fuzz-shards", {"files_of_each_kind": options.count, "seed": options.seed}, rows)
        draw_table("fuzz-shards", lines)
    unseen = sum(row["misread"] for name, row in rows.items() if name == UNSEEN)
    sys.exit(sum(row["files"] - row["read"] - row["refused"] for row in rows.values()) > unseen)


if __name__ == "__main__":
    main()
