"""`generate_shards`: equal bytes, and folders that survive kills, full disks and wrong arguments."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import pickle
import random
import resource
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from tqdm import tqdm

from augmentor._internal.files import sha256_file
from augmentor._internal.random import sample_keys, seeded
from augmentor._internal.weights import fingerprint
from augmentor.autoencoders import get_autoencoder
from augmentor.data import ArrayDataset
from augmentor.exceptions import (
    DataError,
    InputError,
    OutputError,
    ReferenceSetError,
    ShardError,
    UnknownNameError,
)
from augmentor.shards import ShardDataset, generate_shards, read_manifest, read_partial
from augmentor.shards.generate import _EXECUTORS
from augmentor.shards.manifest import MANIFEST, PARTIAL
from augmentor.shards.precision import full_precision
from augmentor.transform import LatentAugment


def real(count: int = 12) -> ArrayDataset:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 1, 8, 8), np.uint8)
    return ArrayDataset(torch.from_numpy(pixels), torch.arange(count) % 3, ["a", "b", "c"])


def augmenter(policy: str = "gaussian(std=0.5)") -> LatentAugment:
    with seeded(0, "weights"):
        return LatentAugment(get_autoencoder("vae").example(), policy)


SETTINGS = {"num_samples": 30, "shard_size": 7, "micro_batch": 4, "batch_size": 4}


def generate(out, dataset=None, augment=None, **changes) -> Path:
    return generate_shards(dataset or real(), augment or augmenter(), out, **{**SETTINGS, **changes})


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("reference") / "shards")


# ---------------------------------------------------------------------------- what is generated


def test_the_folder_and_its_manifest(reference):
    manifest = read_manifest(reference / MANIFEST)
    assert sorted(content(reference)) == [MANIFEST, *(f"shard-{unit:05d}.h5" for unit in range(5))]
    assert [entry.count for entry in manifest.shards] == [7, 7, 7, 7, 2]
    assert manifest.policy == "gaussian(std=0.5)"
    assert manifest.autoencoder == "vae"
    assert manifest.autoencoder_sha256 == fingerprint(augmenter().autoencoder.state_dict())
    assert manifest.dataset_fingerprint == real().fingerprint
    assert manifest.fitted_sha256 is None
    assert (manifest.device, manifest.precision, manifest.micro_batch) == ("cpu", "fp32", 4)
    assert manifest.class_names == ("a", "b", "c")
    for entry in manifest.shards:
        assert entry.sha256 == sha256_file(reference / entry.file)
        assert entry.bytes == (reference / entry.file).stat().st_size


def test_each_sample_is_what_its_source_and_copy_make(reference):
    """Online and in shards one sample has one result, to a level of uint8."""
    data, dataset = ShardDataset(reference), real()
    numbers = np.arange(30)
    sources, copies = numbers % 12, numbers // 12
    images, labels = augmenter().synthesize(
        dataset.images[sources], dataset.targets[sources], indices=sources, draw_index=copies, seed=0, epoch=0
    )
    found = torch.stack([image for image, _ in data])
    assert (found.int() - images.int()).abs().max() <= 1
    assert data.targets.tolist() == labels.tolist()
    shard = data._shard(2)
    assert shard.source_index[:, 0].tolist() == (numbers[14:21] % 12).tolist()
    assert shard.copy.tolist() == (numbers[14:21] // 12).tolist()
    assert len(np.unique(sample_keys(0, 0, sources, copies))) == 30
    assert len(torch.unique(found.flatten(1), dim=0)) == 30


def test_equal_settings_make_equal_bytes(reference, tmp_path, global_rng_untouched):
    assert content(generate(tmp_path / "again")) == content(reference)


def test_the_caller_s_precision_does_not_leak_in(reference, tmp_path):
    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16"
    try:
        with torch.autocast("cpu", torch.bfloat16):
            assert content(generate(tmp_path / "again")) == content(reference)
        assert matmul.fp32_precision == "bf16"
    finally:
        matmul.fp32_precision = before


def test_the_caller_s_settings_come_back():
    def settings():
        cudnn, mkldnn = torch.backends.cudnn, torch.backends.mkldnn
        leaves = (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.conv)
        return [leaf.fp32_precision for leaf in leaves], cudnn.benchmark, cudnn.deterministic

    before, older_name = settings(), torch.backends.cudnn.allow_tf32
    with full_precision("cpu"):
        assert settings() != before
    assert settings() == before
    assert torch.backends.cudnn.allow_tf32 == older_name


def test_any_executor_makes_the_same_folder(reference, tmp_path, monkeypatch):
    def backwards_elsewhere(work, units, record):
        for unit in reversed(units):
            record(pickle.loads(pickle.dumps(work))(unit))

    monkeypatch.setitem(_EXECUTORS, "backwards", backwards_elsewhere)
    assert content(generate(tmp_path / "shards", executor="backwards")) == content(reference)


@pytest.mark.parametrize("change", [{"seed": 1}, {"epoch": 1}])
def test_seed_and_epoch_change_the_images(reference, tmp_path, change):
    other = ShardDataset(generate(tmp_path / "other", **change))
    assert not torch.equal(other[0][0], ShardDataset(reference)[0][0])


@pytest.mark.parametrize("policy", ["smote(k=2)", "interpolate(same_class=False)", "class_gaussian"])
def test_a_policy_with_partners_is_fitted_on_the_data_set(tmp_path, policy):
    first, second = augmenter(policy), augmenter(policy)
    folder = generate(tmp_path / "first", augment=first)
    assert first.reference is not None
    manifest = read_manifest(folder / MANIFEST)
    assert manifest.fitted_sha256 is not None
    assert manifest.labels == ("soft" if "same_class=False" in policy else "int64")
    with torch.autocast("cpu", torch.bfloat16):
        assert content(generate(tmp_path / "second", augment=second)) == content(folder)


def test_a_pool_of_other_data_is_another_setting(tmp_path):
    folder = generate(tmp_path / "shards", augment=augmenter("smote(k=2)"))
    with pytest.raises(OutputError, match="fitted_sha256"):
        generate(folder, augment=augmenter("smote(k=2)").fit(real(20)))


class Unlabelled(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((1, 8, 8), index / 5)


class Labelled(Unlabelled):
    def __getitem__(self, index: int):
        return super().__getitem__(index), index


def test_images_without_labels_are_one_class(tmp_path):
    data = ShardDataset(generate(tmp_path / "shards", Unlabelled()))
    assert data.targets.tolist() == [0] * 30
    assert data.classes == ["0"]


def test_class_names(tmp_path):
    assert ShardDataset(generate(tmp_path / "a", Labelled())).classes == ["0", "1", "2", "3", "4"]
    names = ["x", "y", "é", "\0", "w" * 4000]
    assert ShardDataset(generate(tmp_path / "b", Labelled(), class_names=names)).classes == names
    with pytest.raises(DataError, match="for 2 class names"):
        generate(tmp_path / "c", Labelled(), class_names=["x", "y"])
    with pytest.raises(InputError, match="Unicode"):
        generate(tmp_path / "d", Labelled(), class_names=["\udcff"] * 5)


def test_images_of_other_sizes_are_named(tmp_path):
    class Growing(Unlabelled):
        def __getitem__(self, index: int) -> torch.Tensor:
            return torch.zeros(1, 8, 8 + (index > 3))

    with pytest.raises((DataError, InputError), match="shape"):
        generate(tmp_path / "shards", Growing())


def test_progress_is_shown_only_when_asked(tmp_path, capfd):
    generate(tmp_path / "shards")
    assert capfd.readouterr().err == ""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("augmentor.shards.generate.tqdm", lambda *a, **k: tqdm(*a, **{**k, "delay": 0}))
        generate(tmp_path / "others", progress=True)
    assert "generating" in capfd.readouterr().err


# ---------------------------------------------------------------------------- arguments


@pytest.mark.parametrize("name", ["num_samples", "shard_size", "micro_batch", "seed", "epoch"])
@pytest.mark.parametrize("value", [-1, 1.5, True, "3", 2**63])
def test_numbers_are_checked(tmp_path, name, value):
    with pytest.raises(InputError, match=name):
        generate(tmp_path / "shards", **{name: value})
    assert not (tmp_path / "shards").exists()


def test_other_arguments_are_checked(tmp_path):
    out = tmp_path / "shards"
    with pytest.raises(UnknownNameError, match="known: local, torchrun, ray"):
        generate(out, executor="spark")
    with pytest.raises(InputError, match="gzip"):
        generate(out, compression="zip")
    with pytest.raises(InputError, match="num_samples"):
        generate(out, num_samples=0)
    with pytest.raises(InputError, match="raise shard_size"):
        generate(out, num_samples=10**6, shard_size=1)
    with pytest.raises(InputError, match="LatentAugment"):
        generate(out, augment=torch.nn.Identity())
    with pytest.raises(DataError, match="map-style"):
        generate(out, dataset=iter([1]))
    with pytest.raises(ReferenceSetError):
        generate(out, dataset=real(3), augment=augmenter("smote"))
    assert not out.exists()


# ---------------------------------------------------------------------------- the folder


def test_a_complete_folder_is_checked_and_returned(reference):
    before = {path.name: path.stat().st_mtime_ns for path in reference.iterdir()}
    assert generate(reference) == reference
    assert before == {path.name: path.stat().st_mtime_ns for path in reference.iterdir()}


def test_other_settings_are_refused_with_the_difference(reference):
    before = content(reference)
    with pytest.raises(OutputError, match=r"seed: 0 there, 5 asked.*name another folder"):
        generate(reference, seed=5)
    with pytest.raises(OutputError, match=r"policy: 'gaussian\(std=0.5\)' there, 'gaussian\(std=0.7\)' asked"):
        generate(reference, augment=augmenter("gaussian(std=0.7)"))
    with pytest.raises(OutputError, match="dataset_fingerprint"):
        generate(reference, dataset=real(13))
    with seeded(1, "weights"):
        other = LatentAugment(get_autoencoder("vae").example(), "gaussian(std=0.5)")
    with pytest.raises(OutputError, match="autoencoder_sha256"):
        generate(reference, augment=other)
    assert content(reference) == before


def test_a_folder_of_other_things_is_refused_and_left_alone(tmp_path):
    for name in ("thesis.tex", "shard-00000.h5"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_text("mine")
        for resume in (True, False):
            with pytest.raises(OutputError, match="holds other things"):
                generate(folder, resume=resume)
        assert content(folder) == {name: b"mine"}
    with pytest.raises(OutputError, match="is a file"):
        generate(tmp_path / "thesis.tex" / "thesis.tex")


def test_resume_false_refuses_a_folder_that_was_begun(reference, tmp_path):
    with pytest.raises(OutputError, match="resume=True"):
        generate(reference, resume=False)
    assert content(generate(tmp_path / "new", resume=False)) == content(reference)


def test_a_damaged_manifest_is_refused(tmp_path):
    folder = generate(tmp_path / "shards")
    (folder / MANIFEST).write_text("{}")
    with pytest.raises(ShardError, match=r"manifest\.json"):
        generate(folder)


@pytest.mark.parametrize("damage", ["flip", "remove", "truncate"])
def test_a_damaged_shard_of_a_complete_folder_is_made_again(reference, tmp_path, damage):
    folder = generate(tmp_path / "shards")
    path = folder / "shard-00002.h5"
    if damage == "remove":
        path.unlink()
    else:
        data = path.read_bytes()
        path.write_bytes(data[:100] if damage == "truncate" else data[:-1] + bytes([data[-1] ^ 4]))
    others = {p.name: p.stat().st_mtime_ns for p in folder.glob("shard-*") if p != path}
    generate(folder)
    assert content(folder) == content(reference)
    assert others == {p.name: p.stat().st_mtime_ns for p in folder.glob("shard-*") if p != path}


def test_a_kill_before_the_partial_manifest_is_removed_is_tidied_up(reference, tmp_path):
    folder = generate(tmp_path / "shards")
    (folder / PARTIAL).write_text("cut sh")
    (folder / ".shard-00003.h5.0badc0de.partial").write_bytes(b"cut sh")
    generate(folder)
    assert content(folder) == content(reference)


# ---------------------------------------------------------------------------- interruptions


class Stopping(ArrayDataset):
    """Calls `stop()` when the third shard is under way."""

    def __init__(self, stop):
        super().__init__(real().images, real().targets, real().classes)
        self.stop, self.calls = stop, 0

    def __getitems__(self, indices):
        self.calls += 1
        if self.calls == 7:  # after the first image, two reads a shard
            self.stop()
        return super().__getitems__(indices)


def assert_two_shards_are_safe(folder: Path) -> None:
    manifest = read_partial(folder)
    assert [entry.file for entry in manifest.shards] == ["shard-00000.h5", "shard-00001.h5"]
    for entry in manifest.shards:
        assert sha256_file(folder / entry.file) == entry.sha256
    with pytest.raises(ShardError, match="2 of 5 shards"):
        ShardDataset(folder)


def wait_for_shards(folder: Path, count: int) -> None:
    """Shards are written by a thread while the next is decoded."""
    deadline = time.monotonic() + 60
    while len(list(folder.glob("shard-*.h5"))) < count and time.monotonic() < deadline:
        time.sleep(0.002)


def test_ctrl_c_keeps_finished_shards(reference, tmp_path):
    folder = tmp_path / "shards"

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="2 of 5 shards are finished and stay; the same call goes on"):
        generate(folder, Stopping(interrupt))
    assert_two_shards_are_safe(folder)
    kept = (folder / "shard-00000.h5").stat().st_mtime_ns
    generate(folder)
    assert content(folder) == content(reference)
    assert (folder / "shard-00000.h5").stat().st_mtime_ns == kept


def _generate_on_a_full_disk(folder: Path, answer) -> None:
    def fill_disk() -> None:
        wait_for_shards(folder, 2)
        room = (folder / PARTIAL).stat().st_size + 300
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))

    try:
        generate(folder, Stopping(fill_disk))
    except Exception as error:
        answer.put((type(error).__name__, str(error)))


SERVER = multiprocessing.get_context("forkserver")  # imports torch once for all the processes of these tests

SERVER.set_forkserver_preload(["augmentor.shards.generate", "augmentor.shards.dataset", "augmentor.autoencoders"])


def test_a_full_disk_is_an_error_that_keeps_finished_shards(reference, tmp_path):
    folder, answer = tmp_path / "shards", SERVER.Queue()
    process = SERVER.Process(target=_generate_on_a_full_disk, args=(folder, answer))
    process.start()
    name, message = answer.get(timeout=60)
    process.join()
    assert name == "OutputError"
    assert "cannot write" in message
    assert "shard-00002.h5" in message
    assert "2 of 5 shards are finished and stay: once that is mended, the same call goes on" in message
    assert_two_shards_are_safe(folder)
    assert not list(folder.glob(".*"))
    generate(folder)
    assert content(folder) == content(reference)


MANY = {"num_samples": 480, "shard_size": 4}


def _generate_many(folder: Path) -> None:
    generate(folder, **MANY)


def test_kill_at_any_moment_loses_at_most_the_shard_under_way(tmp_path):
    expected = content(generate(tmp_path / "reference", **MANY))
    folder = tmp_path / "shards"
    moments = random.Random(os.getpid())
    counts = [0]
    for _ in range(6):
        process = SERVER.Process(target=_generate_many, args=(folder,))
        process.start()
        _wait_for_more_shards(folder, counts[-1], process)
        time.sleep(moments.random() * 0.1)
        process.kill()
        process.join()
        if (folder / MANIFEST).exists():
            break
        manifest = read_partial(folder)
        counts.append(len(manifest.shards))
        for entry in manifest.shards:
            assert hashlib.sha256((folder / entry.file).read_bytes()).hexdigest() == entry.sha256
        for path in folder.glob("shard-*.h5"):
            assert path.read_bytes() == expected[path.name]  # whole or absent, listed or not
        assert len(list(folder.glob("shard-*.h5"))) <= len(manifest.shards) + 1  # in place, and not yet recorded
        with pytest.raises(ShardError, match="not finished"):
            ShardDataset(folder)
    assert len(counts) >= 2, "the process was never killed in time"
    assert counts == sorted(counts)
    generate(folder, **MANY)
    assert content(folder) == expected


def _wait_for_more_shards(folder: Path, count: int, process) -> None:
    deadline = time.monotonic() + 60
    while len(list(folder.glob("shard-*.h5"))) <= count and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.002)


def test_a_shard_costs_one_line_of_the_record_however_many_there_are(tmp_path):
    folder, seen = tmp_path / "shards", []

    def look():
        wait_for_shards(folder, 2)
        deadline = time.monotonic() + 30
        while (folder / PARTIAL).read_text().count("\n") < 3 and time.monotonic() < deadline:
            time.sleep(0.01)  # the second is in place, and is recorded next
        seen.append((folder / PARTIAL).read_text())

    generate(folder, Stopping(look))
    final = json.loads((folder / MANIFEST).read_text())
    settings, *entries = map(json.loads, seen[0].splitlines())
    assert settings == {**final, "shards": []}
    assert entries == final["shards"][:2]


def test_a_record_that_was_cut_short_costs_one_shard(reference, tmp_path):
    folder = tmp_path / "shards"
    with pytest.raises(DataError):
        generate(folder, Stopping(_fail))
    whole = (folder / PARTIAL).read_bytes()
    (folder / PARTIAL).write_bytes(whole[:-40])
    assert len(read_partial(folder).shards) == 1
    generate(folder)
    assert content(folder) == content(reference)


def _fail() -> None:
    raise DataError("an unreadable image")
