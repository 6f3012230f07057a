"""``augmentor verify``, and what ``augmentor info`` says of shards."""

from __future__ import annotations

import json
import shutil

import pytest

from augmentor import LatentAugment, generate_shards

KINDS = {
    "images": {},
    "latents": {"store": "latents"},
    "gzip": {"compression": "gzip"},
    "tar": {"format": "webdataset"},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory, digits):
    root = tmp_path_factory.mktemp("shards")
    for name, setting in KINDS.items():
        generate_shards(digits, LatentAugment("digits", p=1.0), root / name, num_samples=10, shard_size=4, **setting)
    return root


@pytest.fixture
def folder(folders, tmp_path):
    """A copy to damage."""
    return shutil.copytree(folders / "images", tmp_path / "shards")


def flip(path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", KINDS)
def test_every_damaged_file_of_a_folder_is_named_with_what_to_do(folders, tmp_path, succeeds, refused, name):
    said = succeeds(f"verify {folders / name}")
    assert said.endswith("all files are as they were written\n")
    folder = shutil.copytree(folders / name, tmp_path / "shards")
    files = sorted(path for path in folder.iterdir() if path.name.startswith("shard"))
    flip(files[0])
    files[2].unlink()
    error = refused("verify shards --out found.json")
    for text in ("2 of 3", files[0].name, files[2].name, "checksum", "copy it again", "augmentor generate --resume"):
        assert text in error
    assert files[1].name not in error
    assert sorted(json.loads((tmp_path / "found.json").read_text())["damaged"]) == [files[0].name, files[2].name]


def test_a_file_that_fits_its_hash_and_is_no_shard_is_damaged_too(folder, refused):
    document = json.loads((folder / "manifest.json").read_text())
    document["image_shape"] = [1, 4, 16]
    (folder / "manifest.json").write_text(json.dumps(document))
    assert "shape" in refused("verify shards")


def test_folders_that_are_no_complete_shards(folder, refused):
    (folder / "manifest.json").unlink()
    assert "manifest.json" in refused("verify shards")
    assert "does not exist" in refused("verify absent")


def test_info_tells_the_settings(folders, succeeds):
    said = json.loads(succeeds(f"info {folders / 'latents'}"))
    assert (said["store"], said["latent_shape"], said["files"]) == ("latents", [16], "hdf5")
    assert len(said["shards"]) == 3


def test_info_of_a_damaged_manifest_is_one_line(folder, refused):
    (folder / "manifest.json").write_text('{"format": NaN}')
    assert "NaN" in refused("info shards")
