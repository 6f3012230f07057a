"""Weights files: what is written is deterministic, and what is not ours is a `WeightsError`."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save as dump_tensors

from augmentor._internal.registry import Registry, arguments_of
from augmentor._internal.weights import fingerprint, load_network, read_header, save_network
from augmentor.autoencoders import DenseAutoencoder, autoencoders
from augmentor.exceptions import OutputError, WeightsError


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
    return load_network(path, autoencoders)


def with_header(path, **changes):
    """Write the file again with another header text and the same tensors."""
    network = load(path)
    header = {**read_header(path), **changes}
    path.write_bytes(dump_tensors(network.state_dict(), {"augmentor": json.dumps(header)}))
    return path


def test_a_network_comes_back_with_its_configuration_and_notes(network, path):
    again = load(path)
    assert arguments_of(again) == arguments_of(network)
    assert fingerprint(again.state_dict()) == fingerprint(network.state_dict())
    assert read_header(path)["info"] == {"loss": 0.5}


def test_equal_networks_are_equal_bytes(network, path):
    save_network(network, path.with_name("again"), {"loss": 0.5})
    assert path.read_bytes() == path.with_name("again").read_bytes()


def test_the_bytes_are_the_same_in_another_process(path):
    code = (
        "import sys, torch; from augmentor._internal.weights import save_network, load_network;"
        "from augmentor.autoencoders import autoencoders;"
        "save_network(load_network(sys.argv[1], autoencoders), sys.argv[2], {'loss': 0.5})"
    )
    other = path.with_name("other.safetensors")
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code, str(path), str(other)], check=True, env=environment)
    assert other.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(WeightsError, match=str(path)):
        load(path)


def test_a_file_cut_by_one_byte_is_refused(path):
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError):
        load(path)


@pytest.mark.parametrize("extra", [b"\0", b"more", b"\0" * 4096])
def test_trailing_bytes_are_refused(path, extra):
    path.write_bytes(path.read_bytes() + extra)
    with pytest.raises(WeightsError):
        load(path)


def test_every_flipped_bit_of_the_tensors_is_noticed(path):
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    for position in range(start, len(data), max(1, (len(data) - start) // 150)):
        flipped = bytearray(data)
        flipped[position] ^= 1 << (position % 8)
        path.write_bytes(flipped)
        with pytest.raises(WeightsError):
            load(path)


def test_a_flipped_bit_of_the_header_is_refused_or_leaves_the_weights_as_they_were(network, path):
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    refused = 0
    for position in range(end):
        flipped = bytearray(data)
        flipped[position] ^= 1 << (position % 7)
        path.write_bytes(flipped)
        try:
            again = load(path)
        except WeightsError:
            refused += 1
        else:
            assert fingerprint(again.state_dict()) == fingerprint(network.state_dict())
    assert refused > 0.8 * end


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"short",
        b"\x80\x04\x95 a pickle of something else entirely",
        b"PK\x03\x04" + b"\0" * 100,
        b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
        (2).to_bytes(8, "little") + b"{}",
        (4).to_bytes(8, "little") + b"null",
        (1 << 62).to_bytes(8, "little") + b"{}",
        (200_000).to_bytes(8, "little") + b"[" * 200_000,
    ],
    ids=["empty", "short", "pickle", "zip", "png", "no metadata", "null", "huge header", "deep header"],
)
def test_a_foreign_file_is_refused(tmp_path, data):
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=r"x\.safetensors"):
        load(path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"augmentor": "not json"}, {"augmentor": "[1]"}])
def test_a_safetensors_file_of_somebody_else_is_refused(tmp_path, metadata):
    path = tmp_path / "x.safetensors"
    path.write_bytes(dump_tensors({"w": torch.zeros(3)}, metadata))
    with pytest.raises(WeightsError, match=r"x\.safetensors"):
        load(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="does not exist"):
        load(tmp_path / "none.safetensors")
    with pytest.raises(WeightsError):
        load(tmp_path)


def test_a_pipe_does_not_stop_the_reader_and_a_link_is_followed(path, network):
    """Hubs keep their files as links; nobody keeps weights in a pipe."""
    os.mkfifo(path.with_name("pipe.safetensors"))
    with pytest.raises(WeightsError, match="regular"):
        load(path.with_name("pipe.safetensors"))
    path.with_name("link.safetensors").symlink_to(path)
    assert fingerprint(load(path.with_name("link.safetensors")).state_dict()) == fingerprint(network.state_dict())


def test_another_family_is_refused(path):
    with pytest.raises(WeightsError, match="holds 'autoencoder' weights; expected generator weights"):
        load_network(path, Registry("generator"))


def test_another_format_version_is_refused(path):
    with pytest.raises(WeightsError, match="this version reads format 1"):
        load(with_header(path, format=2))


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "no_such"},
        {"name": "vae"},
        {"name": None},
        {"family": "gan"},
        {"sha256": "0" * 64},
        {"sha256": None},
        {"config": {"latent_dim": 3}},
        {"config": {"no_such": 3}},
        {"config": None},
        {"config": 5},
        {"config": [1, 2]},
        {"config": {"image_shape": [1, 8]}},
        {"config": {"image_shape": None}},
        {"config": {"image_shape": [1, "8", 8]}},
        {"config": {"image_shape": {}}},
        {"config": {"latent_dim": "2"}},
        {"config": {"latent_dim": 2.5}},
        {"config": {"hidden": 4}},
        {"config": {"hidden": [-4]}},
        {"config": {"likelihood": []}},
        {"config": {"corruption": 3}},
        {"config": {"corruption": "gaussian(std='x')"}},
    ],
    ids=str,
)
def test_a_tampered_header_is_refused(path, changes):
    if isinstance(changes.get("config"), dict):
        changes = {"config": {**read_header(path)["config"], **changes["config"]}}
    with pytest.raises(WeightsError, match=str(path)):
        load(with_header(path, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 0},
        {"width": -8},
        {"width": "8"},
        {"width": 8.5},
        {"beta": "1"},
        {"kl_warmup": None},
        {"image_shape": 8},
    ],
    ids=str,
)
def test_a_tampered_header_of_a_convolutional_network_is_refused(tmp_path, changes):
    path = tmp_path / "vae.safetensors"
    save_network(autoencoders.get("vae").example(), path)
    with pytest.raises(WeightsError, match=r"vae\.safetensors"):
        load(with_header(path, config={**read_header(path)["config"], **changes}))


def test_nothing_is_left_of_a_file_that_cannot_be_written(network, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError):
        save_network(network, tmp_path / "file" / "model.safetensors")
    assert os.listdir(tmp_path) == ["file"]


def test_the_fingerprint_tells_names_types_and_shapes_apart():
    zeros = torch.zeros(4)
    states = [
        {"a": zeros},
        {"b": zeros},
        {"a": zeros.reshape(2, 2)},
        {"a": zeros.to(torch.int32)},
        {"a": zeros[:2]},
        {"a": zeros + 1},
    ]
    assert len({fingerprint(state) for state in states}) == len(states)
    assert fingerprint({"a": zeros, "b": zeros + 1}) == fingerprint({"b": zeros + 1, "a": zeros})
