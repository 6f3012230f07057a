"""`generate_shards`: equal bytes, and folders that survive kills, full disks and wrong arguments."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from augmentor._internal.files import sha256_file
from augmentor._internal.random import seeded
from augmentor._internal.weights import fingerprint
from augmentor.autoencoders import get_autoencoder
from augmentor.data import ArrayDataset
from augmentor.exceptions import DataError, InputError, OutputError, ShardError, UnknownNameError
from augmentor.shards import ShardDataset, generate_shards, open_shard, read_manifest, read_partial
from augmentor.shards.manifest import MANIFEST, PARTIAL
from augmentor.transform import LatentAugment


def real(count: int = 12) -> ArrayDataset:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 1, 8, 8), np.uint8)
    return ArrayDataset(torch.from_numpy(pixels), torch.arange(count) % 3, ["a", "b", "c"])


def augmenter(policy: str = "gaussian(std=0.5)", model=None) -> LatentAugment:
    with seeded(0, "weights"):
        return LatentAugment(model or get_autoencoder("vae").example(), policy)


SETTINGS = {"num_samples": 30, "shard_size": 7, "micro_batch": 4, "batch_size": 4}


def generate(out, dataset=None, augment=None, **changes) -> Path:
    return generate_shards(dataset or real(), augment or augmenter(), out, **{**SETTINGS, **changes})


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


class Unreadable(ArrayDataset):
    """The real images, of which one cannot be read; it is none of those that are looked at first."""

    def __init__(self):
        super().__init__(real().images, real().targets, real().classes)

    def __getitems__(self, indices):
        if 8 in indices:
            raise DataError("cannot read image 8; mend or remove it")
        return super().__getitems__(indices)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("reference") / "shards")


# ---------------------------------------------------------------------------- what is generated


def test_the_folder_and_its_manifest(reference):
    manifest = read_manifest(reference / MANIFEST)
    assert sorted(content(reference)) == [MANIFEST, *(f"shard-{unit:05d}.h5" for unit in range(5))]
    assert [entry.count for entry in manifest.shards] == [7, 7, 7, 7, 2]
    assert manifest.autoencoder_sha256 == fingerprint(augmenter().autoencoder.state_dict())
    assert manifest.dataset_fingerprint == real().fingerprint
    assert (manifest.device, manifest.precision, manifest.micro_batch) == ("cpu", "fp32", 4)
    assert manifest.class_names == ("a", "b", "c")
    for entry in manifest.shards:
        assert entry.sha256 == sha256_file(reference / entry.file)
        assert entry.bytes == (reference / entry.file).stat().st_size


def test_each_sample_is_what_its_source_and_draw_index_make(reference):
    """Online and in shards one sample has one result, to a level of uint8."""
    data, dataset = ShardDataset(reference), real()
    sources, draws = np.arange(30) % 12, np.arange(30) // 12
    images, labels = augmenter().synthesize(
        dataset.images[sources], dataset.targets[sources], indices=sources, draw_index=draws, seed=0, epoch=0
    )
    found = data[:][0]
    assert (found.int() - images.int()).abs().max() <= 1
    assert data.targets.tolist() == labels.tolist()
    assert data.draw_indices.tolist() == draws.tolist()
    manifest = data.manifest
    shard = open_shard(reference / manifest.file_name(2), manifest.shards[2], manifest)
    assert shard.source_index[:, 0].tolist() == sources[14:21].tolist()
    assert len(torch.unique(found.flatten(1), dim=0)) == 30


def test_equal_settings_make_equal_bytes_whatever_the_caller_switched_on(reference, tmp_path, global_rng_untouched):
    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16"
    try:
        with torch.autocast("cpu", torch.bfloat16):
            assert content(generate(tmp_path / "again")) == content(reference)
        assert matmul.fp32_precision == "bf16"
    finally:
        matmul.fp32_precision = before


def test_seed_and_epoch_change_the_images(reference, tmp_path):
    images = [ShardDataset(reference)[0][0]]
    images += [ShardDataset(generate(tmp_path / name, **{name: 1}))[0][0] for name in ("seed", "epoch")]
    assert len({bytes(image.numpy()) for image in images}) == 3


@pytest.mark.parametrize("policy", ["interpolate(same_class=False)", "class_gaussian"])
def test_a_policy_with_a_reference_set_is_fitted_on_the_data_set(tmp_path, policy):
    folder = generate(tmp_path / "first", augment=augmenter(policy))
    manifest = read_manifest(folder / MANIFEST)
    assert manifest.fitted_sha256 is not None
    assert manifest.labels == ("soft" if "same_class=False" in policy else "int64")
    with torch.autocast("cpu", torch.bfloat16):
        assert content(generate(tmp_path / "second", augment=augmenter(policy))) == content(folder)
    with pytest.raises(OutputError, match="fitted_sha256"):
        generate(folder, augment=augmenter(policy).fit(real(20)))


def test_latents_of_a_family_that_takes_any_size(tmp_path):
    augment = augmenter("gaussian", get_autoencoder("spatial_kl").example())
    manifest = read_manifest(generate(tmp_path / "shards", augment=augment, store="latents") / MANIFEST)
    assert manifest.image_shape == (1, 8, 8)
    assert len(manifest.latent_shape) == 3
    assert None not in manifest.latent_shape


class Plain(torch.utils.data.Dataset):
    """Five images without labels, or with their numbers for labels."""

    def __init__(self, labelled: bool):
        self.labelled = labelled

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int):
        image = torch.full((1, 8, 8), index / 5)
        return (image, index) if self.labelled else image


def test_class_names(tmp_path):
    assert ShardDataset(generate(tmp_path / "one", Plain(False))).targets.tolist() == [0] * 30
    assert ShardDataset(tmp_path / "one").classes == ["0"]
    assert ShardDataset(generate(tmp_path / "a", Plain(True))).classes == ["0", "1", "2", "3", "4"]
    names = ["x", "y", "é", "\0", "w" * 4000]
    assert ShardDataset(generate(tmp_path / "b", Plain(True), class_names=names)).classes == names
    with pytest.raises(DataError, match="for 2 class names"):
        generate(tmp_path / "c", Plain(True), class_names=["x", "y"])
    with pytest.raises(InputError, match="Unicode"):
        generate(tmp_path / "d", Plain(True), class_names=["\udcff"] * 5)


def test_progress_is_shown_only_when_asked(tmp_path, capfd):
    generate(tmp_path / "shards")
    assert capfd.readouterr().err == ""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("augmentor._internal.progress.DELAY", 0.0)
        generate(tmp_path / "others", progress=True)
    assert "generating" in capfd.readouterr().err


# ---------------------------------------------------------------------------- arguments


def test_numbers_are_checked(tmp_path):
    for name in ("num_samples", "shard_size", "micro_batch", "batch_size", "seed", "epoch", "num_workers"):
        for value in (-1, True, "3", 2**63):
            with pytest.raises(InputError, match=name):
                generate(tmp_path / "shards", **{name: value})
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"executor": "spark"}, UnknownNameError, "known: local, torchrun, ray"),
        ({"executor": "torchrun"}, InputError, "torchrun --nproc-per-node"),
        ({"gpus_per_worker": 0.5}, InputError, "executor='ray'"),
        ({"format": "zip"}, InputError, "'webdataset'"),
        ({"num_samples": 0}, InputError, "num_samples"),
        ({"num_samples": 10**6, "shard_size": 1}, InputError, "increase shard_size"),
        ({"dataset": iter([1])}, DataError, "map-style"),
        ({"augment": LatentAugment(get_autoencoder("vae").example(), p=0.3)}, InputError, "num_samples"),
        ({"unit_range": (0, 1), "resume": False}, InputError, "resume=False"),
        *(({"unit_range": part}, InputError, "unit_range") for part in [(2, 2), (-1, 2), (5, 9), (0, 1.0), "0:2"]),
    ],
)
def test_other_arguments_are_checked(tmp_path, arguments, error, said):
    with pytest.raises(error, match=said):
        generate(tmp_path / "shards", **arguments)
    assert not (tmp_path / "shards").exists()


# ---------------------------------------------------------------------------- the folder


def test_a_complete_folder_is_checked_and_returned(reference):
    before = {path.name: path.stat().st_mtime_ns for path in reference.iterdir()}
    assert generate(reference) == reference
    assert before == {path.name: path.stat().st_mtime_ns for path in reference.iterdir()}
    with pytest.raises(OutputError, match="resume=True"):
        generate(reference, resume=False)


def test_other_settings_are_refused_with_the_difference(reference):
    before = content(reference)
    other = get_autoencoder("vae").example()  # other weights
    for changes, said in (
        ({"seed": 5}, r"seed: 0 stored, 5 given.*choose another folder"),
        ({"augment": augmenter("gaussian(std=0.7)")}, r"policy: 'gaussian\(std=0.5\)' stored"),
        ({"dataset": real(13)}, "dataset_fingerprint"),
        ({"augment": LatentAugment(other, "gaussian(std=0.5)")}, "autoencoder_sha256"),
        ({"store": "latents"}, "store: 'images' stored, 'latents' given"),
    ):
        with pytest.raises(OutputError, match=said):
            generate(reference, **changes)
    assert content(reference) == before


def test_a_folder_of_other_things_is_refused_and_left_alone(tmp_path):
    for name in ("thesis.tex", "shard-00000.h5"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_text("mine")
        for resume in (True, False):
            with pytest.raises(OutputError, match="holds other files"):
                generate(folder, resume=resume)
        assert content(folder) == {name: b"mine"}
    with pytest.raises(OutputError, match="is a file"):
        generate(tmp_path / "thesis.tex" / "thesis.tex")


def test_a_damaged_manifest_is_refused(tmp_path):
    folder = generate(tmp_path / "shards", resume=False)
    (folder / MANIFEST).write_text("{}")
    with pytest.raises(ShardError, match=r"manifest\.json"):
        generate(folder)


def test_damaged_shards_of_a_complete_folder_are_made_again_and_what_a_kill_left_is_removed(reference, tmp_path):
    folder = generate(tmp_path / "shards")
    flipped, truncated, removed, *others = sorted(folder.glob("shard-*"))
    flipped.write_bytes(flipped.read_bytes()[:-1] + b"?")
    truncated.write_bytes(truncated.read_bytes()[:100])
    removed.unlink()
    (folder / PARTIAL).write_text("cut sh")
    (folder / ".shard-00003.h5.0badc0de.partial").write_bytes(b"cut sh")
    before = [path.stat().st_mtime_ns for path in others]
    generate(folder)
    assert content(folder) == content(reference)
    assert [path.stat().st_mtime_ns for path in others] == before


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


def test_ctrl_c_keeps_finished_shards(reference, tmp_path):
    folder = tmp_path / "shards"

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="2 of 5 shards are finished and kept; run again to resume"):
        generate(folder, Stopping(interrupt))
    manifest = read_partial(folder)
    assert [entry.file for entry in manifest.shards] == ["shard-00000.h5", "shard-00001.h5"]
    assert all(sha256_file(folder / entry.file) == entry.sha256 for entry in manifest.shards)
    with pytest.raises(ShardError, match="2 of 5 shards"):
        ShardDataset(folder)
    kept = (folder / "shard-00000.h5").stat().st_mtime_ns
    generate(folder)
    assert content(folder) == content(reference)
    assert (folder / "shard-00000.h5").stat().st_mtime_ns == kept


def test_a_record_that_was_cut_short_costs_one_shard(reference, tmp_path):
    folder = tmp_path / "shards"
    with pytest.raises(DataError):
        generate(folder, Stopping(_fail))
    os.truncate(folder / PARTIAL, (folder / PARTIAL).stat().st_size - 40)
    assert len(read_partial(folder).shards) == 1
    generate(folder)
    assert content(folder) == content(reference)


def _fail() -> None:
    raise DataError("an unreadable image")
