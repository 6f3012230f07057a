"""The manifest: what it accepts, what it refuses, and how it says that two differ."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augmentor.exceptions import ShardError
from augmentor.shards import Manifest, ShardEntry, read_manifest
from augmentor.shards.manifest import differences, parse_manifest

BASE = Manifest(
    num_samples=10,
    shard_size=4,
    seed=0,
    epoch=0,
    policy="gaussian(std=0.5)",
    autoencoder="vae",
    autoencoder_sha256="a" * 64,
    dataset_fingerprint="b" * 64,
    fitted_sha256=None,
    micro_batch=4,
    device="cpu",
    precision="fp32",
    image_shape=(1, 8, 8),
    labels="int64",
    class_names=("0", "1"),
    compression="none",
    package_version="0.1.0",
)


def entry(unit: int, manifest: Manifest = BASE) -> ShardEntry:
    return ShardEntry(manifest.file_name(unit), len(manifest.samples(unit)), f"{unit:064x}", 100 + unit)


def as_json(manifest: Manifest) -> dict:
    return {**manifest.settings(), "shards": [dataclasses.asdict(entry) for entry in manifest.shards]}


number = st.integers(0, 2**63 - 1)
name = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
manifests = st.builds(
    Manifest,
    num_samples=st.integers(1, 1000),
    shard_size=st.integers(1, 1000),
    seed=number,
    epoch=number,
    policy=st.just("smote(k=3)"),
    autoencoder=st.sampled_from(["vae", "dense"]),
    autoencoder_sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    dataset_fingerprint=st.just("anything"),
    fitted_sha256=st.none() | st.just("c" * 64),
    models=st.lists(name, max_size=2).map(tuple),
    micro_batch=st.integers(1, 512),
    device=st.sampled_from(["cpu", "cuda"]),
    precision=st.sampled_from(["fp32", "bf16+channels_last", "fp32+compile"]),
    image_shape=st.tuples(st.sampled_from([1, 3]), st.integers(8, 128), st.integers(8, 128)),
    labels=st.sampled_from(["int64", "soft"]),
    class_names=st.lists(name, min_size=1, max_size=5).map(tuple),
    compression=st.sampled_from(["none", "gzip"]),
    residual=st.floats(0, 1),
    package_version=st.just("0.1.0"),
)


@given(manifests, st.data())
def test_round_trip(tmp_path_factory, manifest, data):
    units = data.draw(st.lists(st.integers(0, manifest.num_shards - 1), unique=True, max_size=5))
    manifest = manifest.with_shards(*(entry(unit, manifest) for unit in units))
    path = tmp_path_factory.mktemp("manifest") / "manifest.json"
    manifest.write(path)
    assert read_manifest(path) == manifest
    assert manifest.missing() == [unit for unit in range(manifest.num_shards) if unit not in units]
    assert manifest.complete == (len(units) == manifest.num_shards)


@given(manifests, manifests)
def test_differences_name_every_setting_that_differs(a, b):
    text = differences(a, b)
    changed = [name for name, value in a.settings().items() if value != b.settings()[name]]
    assert (text == "") == (not changed)
    assert all(f"{name}: " in text for name in changed)
    assert differences(a, a.with_shards()) == ""
    assert differences(BASE, dataclasses.replace(BASE, seed=7)) == "seed: 0 stored, 7 given"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda leaf: st.lists(leaf, max_size=3) | st.dictionaries(st.text(max_size=4), leaf, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from([*sorted(as_json(BASE)), "file", "count", "sha256", "bytes"]), JSON)
def test_any_value_in_any_field_is_accepted_or_a_shard_error(field, value):
    document = as_json(BASE.with_shards(entry(0)))
    place = document if field in document else document["shards"][0]
    place[field] = value
    try:
        manifest = parse_manifest(json.dumps(document))
    except ShardError:
        return
    assert json.dumps(as_json(manifest)) == json.dumps(document)  # 1, 1.0 and true are not the same


@given(st.text() | st.binary() | JSON.map(json.dumps))
def test_any_text_is_a_manifest_or_a_shard_error(text):
    with pytest.raises(ShardError):
        parse_manifest(text)


@pytest.mark.parametrize(
    "file",
    ["../shard-00000.h5", "/shard-00000.h5", "shard-00000.h5\n", "shard-\u0660\u0660\u0660\u0660\u0660.h5", ""],
)
def test_a_file_name_never_leaves_the_folder(file):
    document = as_json(BASE.with_shards(entry(0)))
    document["shards"][0]["file"] = file
    with pytest.raises(ShardError, match="shard-00000"):
        parse_manifest(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format"),
        ({"seed": -1}, "seed"),
        ({"num_samples": 0}, "num_samples"),
        ({"autoencoder_sha256": "A" * 64}, "autoencoder_sha256"),
        ({"precision": "bf16+fast"}, "precision"),
        ({"compression": "lzf"}, "compression"),
        ({"image_shape": [1, 8, 0]}, "image_shape"),
        ({"class_names": ["\ud800"]}, "class_names"),
        ({"num_samples": 10**9, "shard_size": 1}, "shard_size"),
        ({"extra": 1}, "extra"),
        ({"store": "latents"}, "latent_shape"),
        ({"store": "latents", "latent_shape": [4, None]}, "latent_shape"),
        ({"files": "webdataset", "shards": [entry(0).fields()]}, "shard-00000.tar"),
    ],
)
def test_refusals(change, message):
    with pytest.raises(ShardError, match=message):
        parse_manifest(json.dumps({**as_json(BASE), **change}))


def test_shards_stand_once_in_order_and_with_the_count_of_the_plan():
    document = as_json(BASE.with_shards(entry(0), entry(2)))
    for shards, message in (
        (document["shards"][::-1], "in order"),
        (document["shards"][:1] * 2, "once"),
        ([{**document["shards"][0], "count": 3}], "expected 4"),
    ):
        with pytest.raises(ShardError, match=message):
            parse_manifest(json.dumps({**document, "shards": shards}))


def test_the_document_of_the_format_names_every_field():
    text = (Path(__file__).parents[2] / "docs" / "shard-format.md").read_text(encoding="utf-8")
    names = [field.name for kind in (Manifest, ShardEntry) for field in dataclasses.fields(kind)]
    assert [name for name in names if f"`{name}`" not in text] == []
