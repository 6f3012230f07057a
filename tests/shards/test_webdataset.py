"""The tar shard: equal bytes, and nothing of this machine in them."""

from __future__ import annotations

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from augmentor.shards import encode_tar


def arrays(channels: int = 1, soft: bool = False) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "images": random.integers(0, 256, (3, channels, 8, 9), np.uint8),
        "labels": random.random((3, 2), np.float32) if soft else np.array([2, 0, 1]),
        "source_index": np.arange(6).reshape(3, 2),
        "copy": np.array([0, 1, 2], np.int32),
    }


@pytest.mark.parametrize("channels", [1, 3])
def test_members(channels):
    made = arrays(channels)
    with tarfile.open(fileobj=io.BytesIO(encode_tar(made, first=10**11))) as tar:
        members = tar.getmembers()
        content = {member.name: tar.extractfile(member).read() for member in members}
    assert {(member.mtime, member.uid, member.gid, member.uname, member.mode) for member in members} == {
        (0, 0, 0, "", 0o644)
    }
    pixels = np.asarray(Image.open(io.BytesIO(content["100000000001.png"]))).reshape(8, 9, channels)
    np.testing.assert_array_equal(pixels.transpose(2, 0, 1), made["images"][1])
    assert content["100000000000.cls"] == b"2"
    assert json.loads(content["100000000002.json"]) == {"copy": 2, "source_index": [4, 5]}


def test_soft_labels_come_back_exactly():
    made = arrays(soft=True)
    with tarfile.open(fileobj=io.BytesIO(encode_tar(made, first=0))) as tar:
        assert not [name for name in tar.getnames() if name.endswith(".cls")]
        found = [json.load(tar.extractfile(f"{row:012d}.json"))["label"] for row in range(3)]
    np.testing.assert_array_equal(np.array(found, np.float32), made["labels"])


def test_equal_content_is_equal_bytes():
    assert encode_tar(arrays(), first=7) == encode_tar(arrays(), first=7)
    assert encode_tar(arrays(), first=7) != encode_tar(arrays(), first=8)
