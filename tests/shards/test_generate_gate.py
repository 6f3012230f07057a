"""Shards and a quality gate: where it rejects every draw, the original is kept."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from augmentor import LatentAugment, QualityGate, ShardDataset, generate_shards
from augmentor.exceptions import InputError
from augmentor.policies import Adversarial


@pytest.fixture
def few(digits):
    return digits.subset(torch.arange(120))


def gated(vae):
    return LatentAugment(vae, "gaussian(std=1.2)", gate=QualityGate(redraws=1))


def test_where_the_gate_rejects_every_draw_the_original_is_stored(vae, few, tmp_path):
    folder = generate_shards(few, gated(vae), tmp_path / "shards", num_samples=240, shard_size=100)
    shards = ShardDataset(folder)
    rejected = (shards.draw_indices == -1).nonzero().squeeze(1).tolist()
    assert 10 < len(rejected) < 200
    for index in range(len(shards)):
        image, label = shards[index]
        real, its_label = few[index % len(few)]
        assert label == int(its_label)
        assert torch.equal(image, real) == (index in rejected)
    settings = "quality_gate(keep=0.95, k=3, redraws=1, action='redraw')"
    assert shards.manifest.gate == f"{settings} of latents and pixels (smallnet)"


def test_where_the_gate_rejects_every_draw_the_original_latents_are_stored(vae, few, tmp_path):
    folder = generate_shards(few, gated(vae), tmp_path / "shards", num_samples=120, store="latents")
    shards = ShardDataset(folder, autoencoder=vae)
    rejected = (shards.draw_indices == -1).nonzero().squeeze(1)
    assert len(rejected)
    made = torch.stack([shards[int(index)][0] for index in rejected]).float()
    with torch.no_grad():
        reconstructed = vae(few.images[rejected].float() / 255) * 255
    assert (made - reconstructed).abs().max() <= 1.01


def test_weights_and_policies_without_a_text_are_refused(vae, few, tmp_path):
    weighing = LatentAugment(vae, gate=QualityGate(action="weigh"))
    with pytest.raises(InputError, match="cannot store weights"):
        generate_shards(few, weighing, tmp_path / "shards", num_samples=20)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    hard = LatentAugment(vae, Adversarial(model, vae))
    with pytest.raises(InputError, match="has no string form"):
        generate_shards(few, hard, tmp_path / "shards", num_samples=20)
    assert not (tmp_path / "shards").exists()
