"""One safetensors file per network: its tensors, and a JSON text in the header that describes how to build it.

The JSON is stored under a single metadata key, because the order of several keys is not deterministic. It contains the
SHA-256 of its content and the tensors, because the format does not detect a flipped bit. Loading executes no code.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as dump_tensors
from torch import nn

from ..exceptions import UnknownNameError, WeightsError
from .files import absolute_path, open_regular, write_bytes
from .registry import arguments_of, create, did_you_mean

_KEY = "augmentor"
_MAX_HEADER = 1 << 20
# File names of the weights in the folder of a training run.
OF_AUTOENCODER, OF_GENERATOR, OF_PRIOR = "model.safetensors", "generator.safetensors", "prior.safetensors"


def weights_file(path: str | Path, in_run: str) -> Path:
    """Return the weights file `path`, or the file `in_run` in it if `path` is the folder of a run; absolute."""
    path = absolute_path(path)
    return path / in_run if os.path.isdir(path) else path  # os.path.isdir raises no error for any text


def named_weights(kind: str, name: str, in_run: str, known: Iterable[str]) -> Path:
    """Return `weights_file`; raise `UnknownNameError`, with the known names, if it is not the path of weights."""
    path = weights_file(name, in_run)
    if path.suffix != ".safetensors" and not os.path.exists(path):
        raise UnknownNameError(
            f"unknown {kind} {name!r}{did_you_mean(name, known)}; or give the path of a .safetensors file, or the "
            "folder of a training run"
        )
    return path


def save_network(network: nn.Module, path: str | Path, info: dict[str, Any] | None = None) -> None:
    """Write a registered network, completely or not at all; `info` (JSON values) is stored in the header."""
    state = {k: v.detach().cpu().contiguous() for k, v in sorted(network.state_dict().items())}
    header: dict[str, Any] = {
        "format": 1,
        "family": network.family,
        "name": network.name,
        "config": arguments_of(network),
        "info": info or {},
    }
    header["sha256"] = _checksum(header, state)
    write_bytes(absolute_path(path), dump_tensors(state, {_KEY: json.dumps(header, sort_keys=True)}))


def load_network(path: str | Path, kind: str, members: Mapping[str, type[Any]]) -> Any:
    """Read a network written by `save_network`; raise `WeightsError` for any other file.

    kind, members: family of the network, and its classes by name.
    """
    path = absolute_path(path)
    header = read_header(path)
    if header.get("family") != kind:
        raise WeightsError(f"{path} contains {header.get('family')!r} weights; expected {kind} weights")
    try:
        state = load_tensors(path.read_bytes())
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"cannot read {path}: {error}; the file is truncated or damaged: copy or download it again"
        ) from error
    if _checksum(header, state) != header.get("sha256"):
        raise WeightsError(f"{path} does not match its checksum: it was damaged or modified; copy or download it again")
    try:
        # The meta device allocates no memory, for any sizes in the header, and draws no initial weights.
        with torch.device("meta"):
            network = create(kind, members, str(header.get("name")), header.get("config", {}))
        network.load_state_dict(state, assign=True)
    except (RuntimeError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise WeightsError(
            f"{path} does not match this version of {kind} {header.get('name')!r}: {' '.join(str(error).split())[:300]}"
        ) from error
    return network.eval()


def read_header(path: str | Path) -> dict[str, Any]:
    """Return the JSON header of a weights file without reading its tensors."""
    path = absolute_path(path)
    try:
        with open_regular(path.resolve()) as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= _MAX_HEADER:
                raise ValueError("its first bytes are not the length of a header")
            header = json.loads(json.loads(file.read(length))["__metadata__"][_KEY])
    except FileNotFoundError as error:
        raise WeightsError(
            f"{path} does not exist; expected a .safetensors file, or the folder of a finished training run"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise WeightsError(
            f"{path} is not a weights file of augmentor ({type(error).__name__}: {error}); "
            "expected a file written by `augmentor train-autoencoder`, `train-gan` or `train-prior`"
        ) from error
    if not isinstance(header, dict) or header.get("format") != 1:
        raise WeightsError(f"{path} has weights format {header!r:.40}; this version reads format 1")
    return header


def _checksum(header: dict[str, Any], state: dict[str, torch.Tensor]) -> str:
    """Return the SHA-256 of the header without its checksum, and the tensors."""
    words = json.dumps({key: value for key, value in header.items() if key != "sha256"}, sort_keys=True)
    return hashlib.sha256(f"{words}\n{fingerprint(state)}".encode()).hexdigest()


def fingerprint_of_text(text: str) -> torch.Tensor:
    """Return the SHA-256 of a string as uint8 (32,): a buffer that distinguishes networks with equal weights."""
    return torch.tensor(list(hashlib.sha256(text.encode()).digest()), dtype=torch.uint8)


def fingerprint(state: dict[str, torch.Tensor]) -> str:
    """Return the SHA-256 of the names, dtypes, shapes and bytes of tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        tensor = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
