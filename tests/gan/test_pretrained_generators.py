"""Pretrained generators and priors: the card of each describes its file, and changed files are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from augmentor._internal import pretrained
from augmentor._internal.files import sha256_file
from augmentor._internal.pretrained import pretrained_folder
from augmentor._internal.registry import describe
from augmentor.autoencoders import list_autoencoders, load_autoencoder
from augmentor.cli import main
from augmentor.denoisers import list_priors, load_prior
from augmentor.denoisers.prior import PRETRAINED_PRIORS
from augmentor.exceptions import UnknownNameError, WeightsError
from augmentor.gan import list_generators, load_generator
from augmentor.gan.evaluation import sample
from augmentor.gan.pretrained import PRETRAINED_GENERATORS

FOLDER = pretrained_folder()
MODELS = {PRETRAINED_GENERATORS: load_generator, PRETRAINED_PRIORS: load_prior}


def test_a_name_stands_for_one_model():
    assert "mnist-gan" in list_generators()
    assert "digits-prior" in list_priors()
    names = [*list_autoencoders(), *list_generators(), *list_priors()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("models", "name"), [pytest.param(models, name, id=name) for models in MODELS for name in models.names()]
)
def test_the_card_describes_the_file(models, name):
    entry, file = models.card(name), FOLDER / name / models.file
    assert entry["sha256"] == sha256_file(file)
    assert entry["bytes"] == file.stat().st_size < 8 << 20
    network = MODELS[models](name)
    assert (entry["network"], entry["num_classes"]) == (describe(network), network.num_classes)
    text = (FOLDER / name / "card.md").read_text(encoding="utf-8")
    for field in ("sha256", "command", "licence", "data", "network", "summary"):
        assert entry[field] in text, field
    for score, value in entry["scores"].items():
        assert f"{score} {value}" in text
    assert (FOLDER / name / "samples.png").read_bytes()[:4] == b"\x89PNG"


def test_it_makes_the_digit_that_is_asked_for(digits):
    """Most are among bundled digits of that class in the latents of `mnist`, though these are drawn otherwise."""
    made = sample(load_generator("mnist-gan"), 200, 0, torch.device("cpu"))
    large = F.interpolate(digits.images.float() / 255, (20, 20), mode="bicubic").clamp(0, 1)
    model = load_autoencoder("mnist")
    with torch.no_grad():
        codes, real = model.encode(made).mean, model.encode(F.pad(large, (4, 4, 4, 4))).mean
    near = digits.targets[torch.cdist(codes, real).topk(5, largest=False).indices].mode(1).values
    assert (near == torch.arange(200) % 10).float().mean() > 0.4  # by chance 0.1
    assert torch.pdist(made[::10].flatten(1)).min() > 1  # zeros, no two of which are alike


def test_a_generator_is_evaluated_and_described_by_its_name(digits, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    images = torch.nn.functional.interpolate(digits.images[:40].float(), (28, 28)).round().byte()
    np.savez("data.npz", images=images.permute(0, 2, 3, 1).numpy(), labels=digits.targets[:40].numpy())
    main(["evaluate", "mnist-gan", "data.npz", "--num-samples", "20"])
    assert json.loads(Path("metrics.json").read_text())["counts"]["generated"] == 20
    capsys.readouterr()
    main(["info", "mnist-gan"])
    assert json.loads(capsys.readouterr().out) == PRETRAINED_GENERATORS.card("mnist-gan")


def test_a_tampered_file_and_an_unknown_name_are_refused(tmp_path, monkeypatch):
    shutil.copytree(FOLDER, tmp_path / "pretrained")
    monkeypatch.setattr(pretrained, "pretrained_folder", lambda: tmp_path / "pretrained")
    file = tmp_path / "pretrained" / "mnist-gan" / "generator.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(WeightsError, match=r"'mnist-gan' are missing or do not match their checksum.*install"):
        load_generator("mnist-gan")
    (file.parent / "card.json").unlink()
    with pytest.raises(WeightsError, match=r"the card of 'mnist-gan' is missing; reinstall"):
        load_generator("mnist-gan")
    with pytest.raises(UnknownNameError, match=r"unknown generator 'mnist-gam'; did you mean 'mnist-gan'"):
        load_generator("mnist-gam")


@pytest.mark.parametrize("name", list_priors())
def test_a_pretrained_prior_fits_the_autoencoder_that_it_names(name):
    load_prior(name).check_autoencoder(load_autoencoder(name.removesuffix("-prior")))
