"""Weights files: what is written is deterministic, and what is not ours is a `WeightsError`."""

from __future__ import annotations

import hashlib
import json
import os

import pytest
import torch
from safetensors.torch import save as dump_tensors

from augmentor._internal.registry import arguments_of
from augmentor._internal.weights import fingerprint, load_network, read_header, save_network
from augmentor.autoencoders import DenseAutoencoder, autoencoders
from augmentor.exceptions import WeightsError


@pytest.fixture
def network() -> DenseAutoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return DenseAutoencoder((1, 8, 8), latent_dim=2, hidden=(4,))


@pytest.fixture
def path(network, tmp_path):
    save_network(network, tmp_path / "model.safetensors", {"loss": 0.5})
    return tmp_path / "model.safetensors"


def load(path):
    return load_network(path, "autoencoder", autoencoders.members)


def with_header(path, **changes):
    """Write the file again with another header text, its checksum too unless that is changed, and the same tensors."""
    state = load(path).state_dict()
    header = {**read_header(path), **changes}
    if "sha256" not in changes:
        words = json.dumps({key: value for key, value in header.items() if key != "sha256"}, sort_keys=True)
        header["sha256"] = hashlib.sha256(f"{words}\n{fingerprint(state)}".encode()).hexdigest()
    path.write_bytes(dump_tensors(state, {"augmentor": json.dumps(header)}))
    return path


def test_a_network_comes_back_with_its_configuration_and_notes_and_is_equal_bytes_again(network, path):
    again = load(path)
    assert arguments_of(again) == arguments_of(network)
    assert fingerprint(again.state_dict()) == fingerprint(network.state_dict())
    assert read_header(path)["info"] == {"loss": 0.5}
    save_network(again, path.with_name("again"), {"loss": 0.5})
    assert path.read_bytes() == path.with_name("again").read_bytes()


def test_a_truncated_file_and_trailing_bytes_are_refused(path):
    data = path.read_bytes()
    shortened = [data[: int(share * len(data))] for share in (0.0, 0.01, 0.5)]
    for other in (*shortened, data[:-1], data + b"\0", data + b"\0" * 4096):
        path.write_bytes(other)
        with pytest.raises(WeightsError, match=str(path)):
            load(path)


def test_a_flipped_bit_is_refused_or_leaves_the_weights_as_they_were(network, path):
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    accepted = 0
    for position in (*range(0, start, 5), *range(start, len(data), 20)):
        flipped = bytearray(data)
        flipped[position] ^= 1 << (position % 7)
        path.write_bytes(flipped)
        try:
            again = load(path)
        except WeightsError:
            continue
        accepted += 1
        assert position < start
        assert fingerprint(again.state_dict()) == fingerprint(network.state_dict())
    assert accepted < 0.04 * start


@pytest.mark.parametrize(
    "data",
    [
        b"short",
        b"\x80\x04\x95 a pickle of something else entirely",
        b"PK\x03\x04" + b"\0" * 100,
        (1 << 62).to_bytes(8, "little") + b"{}",
        (200_000).to_bytes(8, "little") + b"[" * 200_000,
        dump_tensors({"w": torch.zeros(3)}),
        dump_tensors({"w": torch.zeros(3)}, {"augmentor": "not json"}),
        dump_tensors({"w": torch.zeros(3)}, {"augmentor": "[1]"}),
    ],
    ids=["short", "pickle", "zip", "huge header", "deep header", "no metadata", "no json", "list"],
)
def test_a_foreign_file_is_refused(tmp_path, data):
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=r"x\.safetensors"):
        load(path)


def test_only_a_file_is_read_and_a_link_is_followed(path, network, tmp_path):
    """Hubs keep their files as links; nobody keeps weights in a pipe, which would stop the reader."""
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "link.safetensors").symlink_to(path)
    for name, said in (("pipe.safetensors", "regular"), ("none.safetensors", "not exist"), (".", "weights file")):
        with pytest.raises(WeightsError, match=said):
            load(tmp_path / name)
    assert fingerprint(load(tmp_path / "link.safetensors").state_dict()) == fingerprint(network.state_dict())


def test_another_family_or_format_version_is_refused(path):
    with pytest.raises(WeightsError, match="contains 'autoencoder' weights; expected generator weights"):
        load_network(path, "generator", {})
    with pytest.raises(WeightsError, match="this version reads format 1"):
        load(with_header(path, format=2))


@pytest.mark.parametrize(
    "changes", [{"name": "no_such"}, {"name": "vae"}, {"family": "gan"}, {"sha256": "0" * 64}, {"sha256": None},
                {"config": [1, 2]}], ids=str
)  # fmt: skip
def test_a_tampered_header_is_refused(path, changes):
    with pytest.raises(WeightsError, match=str(path)):
        load(with_header(path, **changes))


@pytest.mark.parametrize(
    ("family", "argument", "value"),
    [("dense", "latent_dim", 2.5), ("dense", "no_such", 3), ("dense", "hidden", [-4]),
     ("dense", "image_shape", [1, "8", 8]), ("dense", "likelihood", []), ("dense", "corruption", "gaussian(std='x')"),
     ("vae", "image_shape", 8), ("vae", "width", 0), ("vae", "kl_warmup", None)],
)  # fmt: skip
def test_a_tampered_argument_is_refused_also_with_its_checksum(family, argument, value, tmp_path):
    path = tmp_path / "model.safetensors"
    save_network(autoencoders.get(family).example(), path)
    config = {**read_header(path)["config"], argument: value}
    with pytest.raises(WeightsError, match=rf"\.safetensors does not match this version of autoencoder '{family}'"):
        load(with_header(path, config=config))


def test_the_fingerprint_tells_names_types_and_shapes_apart():
    zeros = torch.zeros(4)
    others = [zeros, zeros.reshape(2, 2), zeros.to(torch.int32), zeros[:2], zeros + 1]
    prints = {fingerprint({"b": zeros}), *(fingerprint({"a": tensor}) for tensor in others)}
    assert len(prints) == 6
    assert fingerprint({"a": zeros, "b": zeros + 1}) == fingerprint({"b": zeros + 1, "a": zeros})
