"""Commands called in this process, in an empty folder, and data arguments and weights of every kind."""

from __future__ import annotations

import re
import shlex
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from augmentor import LatentAugment, generate_shards
from augmentor._internal.random import seeded
from augmentor._internal.weights import save_network
from augmentor.cli import main
from augmentor.data import load_source
from augmentor.gan.networks import get_generator


@pytest.fixture
def call(capfd, tmp_path, data, monkeypatch) -> Callable[..., SimpleNamespace]:
    """Runs ``augmentor`` with a line of arguments, in which DATA is the folder of `data`: code, out and err."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # what these tests say holds for the CPU
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # `main` takes it over

    def run(line: str, *more: object) -> SimpleNamespace:
        code = 0
        try:
            main([*arguments(line, data), *map(str, more)])
        except SystemExit as end:
            code = end.code
        out, err = capfd.readouterr()
        return SimpleNamespace(code=code, out=out, err=err)

    return run


@pytest.fixture
def succeeds(call) -> Callable[..., str]:
    """Runs a command that has to end with code 0; what it printed."""

    def run(line: str, *more: object) -> str:
        result = call(line, *more)
        assert result.code == 0, result.err
        return result.out

    return run


@pytest.fixture
def refused(call) -> Callable[..., str]:
    """Runs a command that has to end with code 2 and one line that says why; that line."""

    def run(line: str, *more: object) -> str:
        result = call(line, *more)
        assert result.code == 2, result
        assert re.fullmatch("error: .*\n", result.err)
        return result.err

    return run


@pytest.fixture
def files(tmp_path) -> Callable[[], dict[str, bytes]]:
    """The bytes of all files below the folder that commands are called in."""
    return lambda: {
        path.relative_to(tmp_path).as_posix(): path.read_bytes()
        for path in sorted(tmp_path.rglob("*"))
        if path.is_file()
    }


def arguments(line: str, data: Path) -> list[str]:
    return [word.replace("DATA", str(data)) for word in shlex.split(line)]


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """All the data arguments and weights that the tests use, made once; nobody writes into it."""
    root = tmp_path_factory.mktemp("data")
    pictures(root / "rgb", {"cats": 12, "dogs": 12})
    pictures(root / "one-bad", {"cats": 12, "dogs": 12})
    broken = root / "one-bad/dogs/5.png"
    broken.write_bytes(broken.read_bytes()[:60])
    pictures(root / "alone", {"many": 24, "only": 1}, (8, 8))
    pictures(root / "sizes", {"cats": 2})
    pictures(root / "sizes", {"dogs": 2}, (18, 18, 3))
    (root / "empty").mkdir()
    (root / "nonsense").mkdir()
    (root / "nonsense/thesis.tex").write_text("years of work")

    grey = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    spoilt = (grey / 255).astype(np.float32)
    spoilt[30, 2, 2] = np.nan
    arrays = {"grey": grey, "float": grey / 255, "range": grey.astype(np.float32), "nan": spoilt}
    arrays["bands"] = np.stack([grey] * 4, axis=-1)
    for name, images in arrays.items():
        np.savez(root / f"{name}.npz", images=images, labels=np.arange(40) % 2)
    (root / "damaged.npz").write_bytes((root / "grey.npz").read_bytes()[:-2000])
    generate_shards(
        load_source(root / "grey.npz"), LatentAugment("digits"), root / "shards", num_samples=30, shard_size=16
    )
    weights(root)
    return root


def weights(root: Path) -> None:
    with seeded(0, "weights"):
        save_network(get_generator("dcgan")((1, 8, 8), 8, 8, num_classes=2), root / "generator.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warnings, "showwarning", warnings.showwarning)
        main(["train-autoencoder", str(root / "rgb"), "--autoencoder", "vae(latent_dim=4, width=8)", "--steps", "1",
              "--batch-size", "8", "--out", str(root / "run"), "--device", "cpu"])  # fmt: skip
    shutil.copy(root / "run/model.safetensors", root / "rgb.safetensors")
    whole = (root / "rgb.safetensors").read_bytes()
    (root / "truncated.safetensors").write_bytes(whole[: len(whole) // 2])
    (root / "tampered.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    (root / "text.safetensors").write_text("this is no weights file, although it is long enough for one")


def pictures(folder: Path, counts: dict[str, int], shape: tuple[int, ...] = (16, 16, 3)) -> None:
    random = np.random.default_rng(0)
    for number, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = np.clip(random.normal(80 + 80 * number, 30, shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
