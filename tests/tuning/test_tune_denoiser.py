"""`tune` with a denoiser: the policy `denoise` is raced too, and its time counts."""

from __future__ import annotations

import json

import pytest
import torch

from augmentor import tune
from augmentor._internal.random import seeded
from augmentor._internal.weights import save_network
from augmentor.autoencoders import load_autoencoder
from augmentor.denoisers import latent_flow
from augmentor.exceptions import InputError, OutputError
from augmentor.policies import get_policy
from augmentor.tuning.datasets import few_of_each

pytestmark = pytest.mark.usefixtures("short_final")
DENOISING = [
    f"denoise(denoiser=prior(source='digits-prior'), strength={s}, steps=20, guidance=None)" for s in (0.4, 0.2, 0.6)
]


@pytest.fixture(scope="module")
def few(digits):
    return few_of_each(digits, 6, seed=0)


def test_it_is_the_first_setting_that_is_tried_and_the_answer_can_be_read_back(few, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "augmentor.policies.Denoise.apply", lambda self, latents, params: seen.append(self.strength) or latents
    )
    space = {"policy": DENOISING, "ratio": [1.0], "gate": [False]}
    settings = {"budget": 60, "folds": 2, "steps": 4, "controls": ["none"], "progress": False}
    tune(few, "digits", denoiser="digits-prior", space=space, out=tmp_path, **settings)
    lines = [json.loads(line) for line in (tmp_path / "trials.jsonl").read_text().splitlines()]
    tried = [line["setting"]["policy"] for line in lines if "policy" in line.get("setting", {})]
    assert tried[0] == DENOISING[0]
    assert set(tried) == set(DENOISING)
    assert set(seen) == {0.4, 0.2, 0.6}
    assert all(line["seconds"] > 0 for line in lines if line.get("setting", {}).get("policy") == DENOISING[0])
    assert json.loads((tmp_path / "policy.json").read_text())["policy"] in DENOISING


def test_the_space_has_it_only_with_a_denoiser(few, tmp_path, monkeypatch):
    def stops(race):
        raise KeyboardInterrupt

    monkeypatch.setattr("augmentor.tuning._tune.Race.run", stops)  # all that is looked at is written before
    for name, denoiser in (("with", "digits-prior"), ("without", None)):
        with pytest.raises(KeyboardInterrupt):
            tune(few, "digits", denoiser=denoiser, budget=20, out=tmp_path / name, progress=False)
        space = json.loads((tmp_path / name / "run.json").read_text())["space"]["policy"]
        assert [text for text in space if text.startswith("denoise")] == (DENOISING if denoiser else [])
        assert [str(get_policy(text)) for text in DENOISING] == DENOISING


def test_what_does_not_fit_is_refused_before_anything_is_raced(few, tmp_path):
    for autoencoder, message in (
        ("vae(latent_dim=4)", "one is trained for each fold"),
        ("mnist", "another autoencoder"),
    ):
        with pytest.raises((InputError, ValueError), match=message):
            tune(few, autoencoder, denoiser="digits-prior", budget=20, out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_another_prior_in_the_same_place_is_another_race(few, tmp_path):
    settings = {"budget": 20, "folds": 2, "steps": 2, "controls": ["none"], "out": tmp_path / "run", "progress": False}
    space = {"policy": ["gaussian"], "ratio": [1.0], "gate": [False]}

    def race(seed: int) -> None:
        with seeded(seed, "flow"):
            flow = latent_flow((16,), 10, width=8)
        flow.take_autoencoder(load_autoencoder("digits"))
        save_network(flow, tmp_path / "prior.safetensors")
        tune(few, "digits", denoiser=str(tmp_path), space=space, **settings)

    race(0)
    with pytest.raises(OutputError, match="with denoiser"):
        race(1)


@pytest.mark.slow
def test_for_a_gan(digits, tmp_path):
    few = digits.subset(torch.arange(60))
    tune(few, "digits", task="fid", denoiser="digits-prior", budget=60, steps=4, controls=["none"], out=tmp_path,
         space={"mode": ["real"], "policy": DENOISING[:1]}, progress=False)  # fmt: skip
    lines = [json.loads(line) for line in (tmp_path / "trials.jsonl").read_text().splitlines()]
    assert any(line.get("setting", {}).get("policy") == DENOISING[0] for line in lines)
