"""Whoever does the work, the bytes are the same: reads of any size, loader workers, parts, ranks; and tar files."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import webdataset
from test_generate import SERVER, augmenter, content, generate, real, wait_for_shards

from augmentor.autoencoders import get_autoencoder
from augmentor.data import ArrayDataset
from augmentor.exceptions import DataError, InputError, OutputError, ShardError
from augmentor.shards import ShardDataset, open_shard, read_manifest, read_partial
from augmentor.shards.journal import Journal
from augmentor.shards.manifest import MANIFEST
from augmentor.transform import LatentAugment


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return content(generate(tmp_path_factory.mktemp("reference") / "shards"))


# ---------------------------------------------------------------------------- how the real images are read


@pytest.mark.parametrize("batch_size", [1, 3, 16, 256])
def test_the_size_of_reads_does_not_show(reference, tmp_path, batch_size):
    assert content(generate(tmp_path / "shards", batch_size=batch_size)) == reference


@pytest.mark.parametrize(("num_workers", "batch_size"), [(1, 256), (3, 5)])
def test_loader_workers_do_not_show(reference, tmp_path, num_workers, batch_size, global_rng_untouched):
    made = generate(tmp_path / "shards", num_workers=num_workers, batch_size=batch_size)
    assert content(made) == reference


class Unreadable(ArrayDataset):
    def __getitems__(self, indices):
        if 9 in indices:
            raise DataError("cannot read image 9; mend or remove it")
        return super().__getitems__(indices)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_error_of_the_data_arrives_as_it_is(tmp_path, num_workers):
    data = real()
    with pytest.raises(DataError, match=r"^cannot read image 9; mend or remove it$"):
        generate(tmp_path / "shards", Unreadable(data.images, data.targets, data.classes), num_workers=num_workers)
    assert len(read_partial(tmp_path / "shards").shards) == 1  # the second shard holds number 9


class OfTwoTypes(ArrayDataset):
    def __getitems__(self, indices):
        return [(image.float() / 255 if index > 3 else image, label) for index, (image, label) in
                zip(indices, super().__getitems__(indices), strict=True)]  # fmt: skip


def test_images_of_two_types_are_refused_and_not_mixed(tmp_path):
    data = real()
    with pytest.raises(DataError, match="different types"):
        generate(tmp_path / "shards", OfTwoTypes(data.images, data.targets, data.classes), batch_size=1)


class OfTwoSizes(ArrayDataset):
    def __getitems__(self, indices):
        return [(image[:, : 8 - (index > 3)], label) for index, (image, label) in
                zip(indices, super().__getitems__(indices), strict=True)]  # fmt: skip


def test_images_of_two_sizes_are_refused(tmp_path):
    data = real()
    with pytest.raises(DataError, match=r"different shapes .*v2\.Resize"):
        generate(tmp_path / "shards", OfTwoSizes(data.images, data.targets, data.classes), batch_size=1)


# ---------------------------------------------------------------------------- parts

PARTS = [(0, 2), (2, 3), (3, 99)]


@pytest.mark.parametrize("order", list(itertools.permutations(PARTS)))
def test_parts_in_any_order(reference, tmp_path, order):
    folder = tmp_path / "shards"
    for number, part in enumerate(order):
        generate(folder, unit_range=part)
        if number < 2:
            with pytest.raises(ShardError, match="not finished"):
                ShardDataset(folder)
    assert content(folder) == reference


def test_parts_at_once(reference, tmp_path):
    folder = tmp_path / "shards"
    jobs = [SERVER.Process(target=generate, args=(folder,), kwargs={"unit_range": part}) for part in PARTS * 2]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0] * 6
    assert content(folder) == reference


def test_a_call_without_a_part_ends_what_parts_began(reference, tmp_path):
    folder = tmp_path / "shards"
    generate(folder, unit_range=(1, 3))
    kept = (folder / "shard-00001.h5").stat().st_mtime_ns
    generate(folder)
    assert content(folder) == reference
    assert (folder / "shard-00001.h5").stat().st_mtime_ns == kept


def test_a_part_mends_its_own_shards_of_a_complete_folder(reference, tmp_path):
    folder = generate(tmp_path / "shards")
    for name in ("shard-00000.h5", "shard-00003.h5"):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[:-1] + bytes([data[-1] ^ 4]))
    generate(folder, unit_range=(0, 2))
    assert (folder / "shard-00000.h5").read_bytes() == reference["shard-00000.h5"]
    generate(folder, unit_range=(2, 5))
    assert content(folder) == reference


def test_a_part_that_mends_a_complete_folder_and_is_stopped_twice_loses_nobodys_record(reference, tmp_path):
    folder = generate(tmp_path / "shards")
    made = {path.name: path.stat().st_mtime_ns for path in folder.glob("shard-*")}
    (folder / "shard-00001.h5").write_bytes(bytes(len(reference["shard-00001.h5"])))
    data = real()
    bad = Unreadable(data.images, data.targets, data.classes)
    for _ in range(2):
        with pytest.raises(DataError):  # finds the damage, and gets no further
            generate(folder, bad, unit_range=(0, 2))
        assert len(read_partial(folder).shards) == 4
    generate(folder, unit_range=(0, 2))  # nobody has to make the others again
    assert content(folder) == reference
    assert {name for name, time in made.items() if (folder / name).stat().st_mtime_ns != time} == {"shard-00001.h5"}


def test_what_others_have_recorded_is_read_while_they_complete_the_folder(reference, tmp_path, monkeypatch):
    folder = tmp_path / "shards"
    generate(folder, unit_range=(0, 2))
    gone = folder / "manifest.partial-00002-00005.jsonl"
    monkeypatch.setattr("augmentor.shards.journal.journals", lambda _: [*sorted(folder.glob("*.jsonl")), gone])
    assert len(read_partial(folder).shards) == 2
    monkeypatch.undo()
    generate(folder)
    gone.write_bytes(b"half a line")  # left by a writer that was killed as another completed the folder
    assert read_partial(folder) is None


def test_nobody_counts_a_damaged_shard_in_that_is_being_made_again(reference, tmp_path):
    folder = tmp_path / "shards"
    generate(folder, unit_range=(0, 2))
    (folder / "shard-00001.h5").write_bytes(bytes(len(reference["shard-00001.h5"])))
    data = real()
    bad = Unreadable(data.images, data.targets, data.classes)
    with pytest.raises(DataError):  # finds the damage, and gets no further
        generate(folder, bad, unit_range=(0, 2))
    generate(folder, unit_range=(2, 5))
    assert not (folder / MANIFEST).exists()
    generate(folder, unit_range=(0, 2))
    assert content(folder) == reference


def test_two_records_of_one_shard_are_told_apart_by_its_bytes(reference, tmp_path):
    """Two makes of GPU may give one shard other bytes; the file in place decides."""
    folder = tmp_path / "shards"
    generate(folder, unit_range=(0, 2))
    mine = folder / "manifest.partial-00000-00002.jsonl"
    settings, _, second = mine.read_text().splitlines()
    other = json.dumps({**json.loads(second), "sha256": "0" * 64})
    (folder / "manifest.partial-00001-00002.jsonl").write_text("\n".join([settings, other, ""]))
    generate(folder, unit_range=(2, 5))
    assert content(folder) == reference


def test_a_part_that_has_nothing_to_do_leaves_the_record_of_one_that_has(reference, tmp_path):
    folder = generate(tmp_path / "shards")
    manifest = read_manifest(folder / MANIFEST)
    journal = Journal(folder / "manifest.partial-00002-00005.jsonl", manifest, manifest.shards[:3])
    journal.close()  # another writer has found damage in its part, and will remove the manifest next
    generate(folder, unit_range=(0, 2))
    assert journal.path.exists()
    generate(folder)
    assert content(folder) == reference


def test_parts_with_other_settings_are_refused(tmp_path):
    folder = tmp_path / "shards"
    generate(folder, unit_range=(0, 2))
    with pytest.raises(OutputError, match="seed: 0 there, 1 asked"):
        generate(folder, unit_range=(2, 5), seed=1)


@pytest.mark.parametrize("part", [(2, 2), (3, 1), (-1, 2), (5, 9), (0, 1.0), "0:2", (0,)])
def test_parts_are_checked(tmp_path, part):
    with pytest.raises(InputError, match="unit_range"):
        generate(tmp_path / "shards", unit_range=part)
    assert not (tmp_path / "shards").exists()


def test_without_ray_the_error_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'latent-augmentor\[ray\]'"):
        generate(tmp_path / "shards", executor="ray")
    assert not (tmp_path / "shards").exists()


def test_other_arguments(tmp_path):
    for arguments, message in (
        ({"batch_size": 0}, "batch_size"),
        ({"num_workers": -1}, "num_workers"),
        ({"store": "pixels"}, "'latents'"),
        ({"format": "zip"}, "'webdataset'"),
        ({"format": "webdataset", "store": "latents"}, "format='hdf5'"),
        ({"format": "webdataset", "compression": "gzip"}, "format='hdf5'"),
        ({"gpus_per_worker": 0.5}, "executor='ray'"),
        ({"executor": "torchrun"}, "torchrun --nproc-per-node"),
        ({"unit_range": (0, 1), "resume": False}, "resume=False"),
    ):
        with pytest.raises(InputError, match=message):
            generate(tmp_path / "shards", **arguments)
    assert not (tmp_path / "shards").exists()


# ---------------------------------------------------------------------------- ranks

_RANK = """
import os, sys
from test_generate import generate
from augmentor import ShardDataset
generate(sys.argv[1], executor="torchrun")
if os.environ["RANK"] == "0":
    print(len(ShardDataset(sys.argv[1])))
"""


def test_ranks_of_torchrun(reference, tmp_path):
    (tmp_path / "program.py").write_text(_RANK)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    run = subprocess.run(
        [*command, tmp_path / "program.py", tmp_path / "shards"],
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["30"]
    assert content(tmp_path / "shards") == reference


def _as_rank(folder: Path, rank: int, ranks: int) -> None:
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(ranks))
    generate(folder, executor="torchrun")


def test_rank_0_waits_for_the_others(reference, tmp_path, monkeypatch):
    folder = tmp_path / "shards"
    first = SERVER.Process(target=_as_rank, args=(folder, 0, 2))
    first.start()
    wait_for_shards(folder, 3)
    first.join(0.5)
    assert first.is_alive()
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    generate(folder, executor="torchrun")
    first.join()
    assert first.exitcode == 0
    assert content(folder) == reference


def test_more_ranks_than_shards_do_no_harm(reference, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "7")
    for rank in range(6, -1, -1):
        monkeypatch.setenv("RANK", str(rank))
        generate(tmp_path / "shards", executor="torchrun")
    assert content(tmp_path / "shards") == reference


# ---------------------------------------------------------------------------- what is stored


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_latents_are_those_that_images_are_decoded_from(reference, tmp_path, compression):
    folder = generate(tmp_path / "shards", store="latents", compression=compression)
    manifest, augment = read_manifest(folder / MANIFEST), augmenter()
    assert (manifest.store, manifest.latent_shape) == ("latents", augment.autoencoder.latent_shape)
    assert manifest.image_shape == (1, 8, 8)
    images = generate(tmp_path / "images")
    for entry, other in zip(manifest.shards, read_manifest(images / MANIFEST).shards, strict=True):
        shard = open_shard(folder / entry.file, entry, manifest)
        expected = open_shard(images / other.file, other, read_manifest(images / MANIFEST))
        raw = shard.content[np.arange(entry.count)]
        assert raw.dtype == np.float32
        decoded = augment.autoencoder.decode(torch.from_numpy(raw.copy())).mul(255).round()
        assert (decoded - torch.from_numpy(expected.content[np.arange(entry.count)].copy())).abs().max() <= 1
        np.testing.assert_array_equal(shard.labels, expected.labels)
        np.testing.assert_array_equal(shard.copy, expected.copy)


def test_latents_and_images_are_other_settings(tmp_path):
    folder = generate(tmp_path / "shards")
    with pytest.raises(OutputError, match="store: 'images' there, 'latents' asked"):
        generate(folder, store="latents")


def test_latents_of_a_family_that_takes_any_size(tmp_path):
    augment = LatentAugment(get_autoencoder("spatial_kl").example(), "gaussian")
    manifest = read_manifest(generate(tmp_path / "shards", augment=augment, store="latents") / MANIFEST)
    assert len(manifest.latent_shape) == 3
    assert None not in manifest.latent_shape


def samples(folder: Path) -> list[dict]:
    urls = [str(folder / entry.file) for entry in read_manifest(folder / MANIFEST).shards]
    return list(webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8"))


def test_webdataset_reads_the_same_images(reference, tmp_path):
    folder = generate(tmp_path / "shards", format="webdataset")
    expected = ShardDataset(generate(tmp_path / "hdf5"))
    found = samples(folder)
    assert [sample["__key__"] for sample in found] == [f"{number:012d}" for number in range(30)]
    for number, (sample, (image, label)) in enumerate(zip(found, expected, strict=True)):
        np.testing.assert_array_equal(sample["png"][..., 0], image[0].numpy())
        assert sample["cls"] == label
        assert sample["json"] == {"copy": number // 12, "source_index": [number % 12]}


def test_webdataset_in_parts_and_again_has_the_same_bytes(tmp_path):
    expected = content(generate(tmp_path / "reference", format="webdataset"))
    folder = tmp_path / "shards"
    for part in reversed(PARTS):
        generate(folder, format="webdataset", unit_range=part)
    assert content(folder) == expected
    (folder / "shard-00002.tar").write_bytes(b"cut short")
    generate(folder, format="webdataset")
    assert content(folder) == expected


def test_webdataset_of_colour_and_soft_labels(tmp_path):
    pixels = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    data = ArrayDataset(pixels, torch.arange(6) % 2, ["a", "b"])
    augment = LatentAugment(get_autoencoder("spatial_kl")(channels=3, width=8), "interpolate(same_class=False)")
    folder = generate(tmp_path / "tar", data, augment, format="webdataset")
    expected = ShardDataset(generate(tmp_path / "hdf5", data, augment))
    for sample, (image, label) in zip(samples(folder), expected, strict=True):
        np.testing.assert_array_equal(sample["png"], image.permute(1, 2, 0).numpy())
        assert "cls" not in sample
        assert torch.tensor(sample["json"]["label"]).equal(label)


def test_a_folder_of_tar_files_is_no_shard_dataset(tmp_path):
    folder = generate(tmp_path / "shards", format="webdataset")
    with pytest.raises(ShardError, match="webdataset"):
        ShardDataset(folder)
    assert read_manifest(folder / MANIFEST).files == "webdataset"
