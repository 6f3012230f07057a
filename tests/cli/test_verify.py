"""``augmentor verify``, and what ``augmentor info`` says of shards."""

from __future__ import annotations

import json
import shutil

import pytest

from augmentor import LatentAugment, generate_shards
from augmentor.cli import main


@pytest.fixture(scope="module")
def folders(tmp_path_factory, digits):
    root = tmp_path_factory.mktemp("shards")
    settings = {"images": {}, "latents": {"store": "latents"}, "gzip": {"compression": "gzip"},
                "tar": {"format": "webdataset"}}  # fmt: skip
    for name, setting in settings.items():
        generate_shards(digits, LatentAugment("digits", p=1.0), root / name, num_samples=10, shard_size=4, **setting)
    return root


@pytest.fixture
def folder(folders, tmp_path):
    """A copy to damage."""
    return shutil.copytree(folders / "images", tmp_path / "shards")


def call(capsys, *arguments) -> tuple[int, str, str]:
    code = 0
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    return code, out, err


def refused(capsys, *arguments) -> str:
    code, _, err = call(capsys, *arguments)
    assert code == 2
    assert err.count("\n") == 1
    assert err.startswith("error: ")
    return err


@pytest.mark.parametrize("name", ["images", "latents", "gzip", "tar"])
def test_whole_folders(folders, capsys, name):
    code, out, err = call(capsys, "verify", folders / name)
    assert (code, err) == (0, "")
    assert "10" in out
    assert "3" in out
    assert out.endswith("all files are as they were written\n")


def flip(path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["images", "latents", "gzip", "tar"])
def test_every_damaged_file_is_named_with_what_to_do(folders, tmp_path, capsys, name):
    folder = shutil.copytree(folders / name, tmp_path / "shards")
    files = sorted(path for path in folder.iterdir() if path.name.startswith("shard"))
    flip(files[0])
    files[2].unlink()
    err = refused(capsys, "verify", folder, "--out", tmp_path / "found.json")
    for text in ("2 of 3", files[0].name, files[2].name, "checksum", "copy it again", "augmentor generate --resume"):
        assert text in err
    assert files[1].name not in err
    found = json.loads((tmp_path / "found.json").read_text())
    assert sorted(found["damaged"]) == [files[0].name, files[2].name]


def test_a_file_that_fits_its_hash_and_is_no_shard_is_damaged_too(folder, capsys):
    document = json.loads((folder / "manifest.json").read_text())
    document["image_shape"] = [1, 4, 16]
    (folder / "manifest.json").write_text(json.dumps(document))
    assert "shape" in refused(capsys, "verify", folder)


def test_folders_that_are_no_complete_shards(folder, tmp_path, capsys):
    (folder / "manifest.json").unlink()
    assert "manifest.json" in refused(capsys, "verify", folder)
    assert "does not exist" in refused(capsys, "verify", tmp_path / "absent")


def test_info_tells_the_settings(folders, capsys):
    code, out, _ = call(capsys, "info", folders / "latents")
    said = json.loads(out)
    assert code == 0
    assert (said["store"], said["latent_shape"], said["files"]) == ("latents", [16], "hdf5")
    assert len(said["shards"]) == 3


def test_info_of_a_damaged_manifest_is_one_line(folder, capsys):
    (folder / "manifest.json").write_text('{"format": NaN}')
    assert "NaN" in refused(capsys, "info", folder)
