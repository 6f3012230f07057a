"""``augmentor verify``."""

from __future__ import annotations

import json

import pytest

from augmentor import LatentAugment, generate_shards


@pytest.mark.parametrize("kind", [{}, {"store": "latents"}, {"format": "webdataset"}], ids=str)
def test_every_damaged_file_of_a_folder_is_named_with_what_to_do(digits, tmp_path, succeeds, refused, kind):
    augment = LatentAugment("digits", p=1.0)
    generate_shards(digits, augment, tmp_path / "shards", num_samples=10, shard_size=4, **kind)
    assert "all files are intact\n" in succeeds("verify shards")
    files = sorted((tmp_path / "shards").glob("shard*"))
    data = bytearray(files[0].read_bytes())
    data[-1] ^= 1
    files[0].write_bytes(data)
    files[2].unlink()
    error = refused("verify shards --out found.json")
    for text in ("2 of 3", files[0].name, files[2].name, "checksum", "copy it again", "augmentor generate --resume"):
        assert text in error
    assert files[1].name not in error
    assert sorted(json.loads((tmp_path / "found.json").read_text())["damaged"]) == [files[0].name, files[2].name]
