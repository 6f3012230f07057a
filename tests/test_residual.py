"""`residual`: what the autoencoder loses of an image is put back, in every way in."""

from __future__ import annotations

import json

import albumentations as A
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import augmentor.albumentations
from augmentor import (
    AugmentedLoader,
    LatentAugment,
    LatentCache,
    MixedDataset,
    QualityGate,
    ShardDataset,
    generate_shards,
    load_autoencoder,
)
from augmentor.cli import main
from augmentor.data import Indexed
from augmentor.exceptions import InputError, OutputError
from augmentor.gan import get_augmentation
from augmentor.gan.feed import Batch
from augmentor.views.explore import Explorer, Settings, recipe

POLICY = "gaussian(std=0.5)"


@pytest.fixture
def few(digits):
    return digits.subset(torch.arange(60))


@pytest.fixture
def images(few):
    return few.images.float() / 255


def sharp(vae, policy: str = POLICY, residual: float = 1.0, **arguments) -> LatentAugment:
    return LatentAugment(vae, policy, **{"p": 1.0, "seed": 0, "residual": residual, **arguments})


def within_a_level(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool((a.int() - b.int()).abs().max() <= 1)


# --- what it does


@pytest.mark.parametrize(("residual", "p"), [(0.25, 1.0), (1.0, 0.5)])
def test_it_adds_what_the_reconstruction_lacks(vae, images, residual, p):
    plain, out = sharp(vae, residual=0.0, p=p)(images), sharp(vae, residual=residual, p=p)(images)
    chosen = (plain != images).flatten(1).any(1)
    with torch.no_grad():
        expected = (plain + residual * (images - vae(images))).clamp(0, 1)[chosen]
    assert torch.allclose(out[chosen], expected, atol=1e-5)
    assert torch.equal(out[~chosen], images[~chosen])
    assert (expected - plain[chosen]).abs().max() > 0.1 * residual  # this autoencoder does lose something


@pytest.mark.filterwarnings("ignore:LatentAugment with policy:augmentor.exceptions.AugmentorWarning")
def test_what_is_not_perturbed_or_rejected_is_the_image_itself(vae, few, images):
    assert torch.allclose(sharp(vae, "gaussian(std=0)")(images), images, atol=1e-5)
    assert torch.equal(sharp(vae, "gaussian(std=0)")(few.images), few.images)
    augment = sharp(vae, "gaussian(std=50)", gate=QualityGate(redraws=0)).fit(few)
    assert torch.equal(augment.synthesize(few.images), few.images)


def test_gradients_flow_through_it(vae, images):
    given, plain = images[:4].clone().requires_grad_(), images[:4].clone().requires_grad_()
    sharp(vae)(given).sum().backward()
    sharp(vae, residual=0.0)(plain).sum().backward()
    assert given.grad.isfinite().all()
    assert not torch.allclose(given.grad, plain.grad)


def test_real_and_generated_images_are_treated_alike_in_a_gan(vae, few, images):
    rows = torch.arange(len(images))
    batch = Batch(images, few.targets, rows.numpy().astype(np.uint64), rows, rows)
    both, plain = (get_augmentation("both", sharp(vae, residual=share)) for share in (1.0, 0.0))
    assert torch.equal(both.real(batch)[0], both.fake(batch))
    assert not torch.allclose(both.fake(batch), plain.fake(batch), atol=0.01)
    assert both.settings() != plain.settings()


# --- every way in


def test_mixed_data_and_loaders_make_the_same_with_a_cache(vae, few):
    augment, cache = sharp(vae, "smote(k=3)").fit(few), LatentCache(few, vae)
    plain, cached = MixedDataset(few, augment), MixedDataset(few, augment, cache=cache)
    rows = range(60, 120)
    for (image, label), (other, its_label) in zip(plain.__getitems__(rows), cached.__getitems__(rows), strict=True):
        assert within_a_level(image, other)
        assert label == its_label
    loader = AugmentedLoader(DataLoader(few, batch_size=20), augment, ratio=0.5)
    cached = AugmentedLoader(DataLoader(Indexed(few), batch_size=20), augment, ratio=0.5, cache=cache)
    for (some, _), (others, _) in zip(loader, cached, strict=True):
        assert some.shape == (30, 1, 8, 8)
        assert within_a_level(some, others)


@pytest.mark.parametrize("cached", [False, True])
def test_shards_hold_what_synthesize_makes(vae, few, tmp_path, cached):
    cache = LatentCache(few, vae) if cached else None
    folder = generate_shards(few, sharp(vae), tmp_path / "shards", num_samples=60, shard_size=25, cache=cache)
    shards = ShardDataset(folder)
    assert shards.manifest.residual == 1.0
    made = sharp(vae).synthesize(few.images, indices=np.arange(60))
    assert within_a_level(torch.stack([shards[row][0] for row in range(60)]), made)


def test_another_residual_is_another_folder_and_latents_have_none(vae, few, tmp_path):
    generate_shards(few, sharp(vae), tmp_path / "shards", num_samples=20)
    with pytest.raises(OutputError, match="residual"):
        generate_shards(few, sharp(vae, residual=0.0), tmp_path / "shards", num_samples=20)
    with pytest.raises(InputError, match="store images, or give residual=0"):
        generate_shards(few, sharp(vae), tmp_path / "latents", num_samples=20, store="latents")
    assert not (tmp_path / "latents").exists()


def test_albumentations(few):
    given = {"image": few.images[0, 0].numpy()[..., None], "sample_key": 3}
    plain, made = (
        A.Compose([augmentor.albumentations.LatentAugment("digits", POLICY, p=1.0, residual=share)], seed=0)
        for share in (0.0, 1.0)
    )
    image = torch.from_numpy(given["image"] / np.float32(255)).permute(2, 0, 1)[None]
    with torch.no_grad():
        lost = (image - load_autoencoder("digits")(image))[0, 0, ..., None].numpy()
    expected = (plain(**given)["image"] / 255 + lost).clip(0, 1)
    assert np.abs(made(**given)["image"] / 255 - expected).max() < 2 / 255
    assert np.array_equal(A.from_dict(A.to_dict(made))(**given)["image"], made(**given)["image"])


# --- written down


@pytest.mark.parametrize("share", [0.75, 1, True, np.float32(1), torch.tensor(1.0)], ids=repr)
def test_it_comes_back_through_a_policy_json_as_a_number_of_ours(tmp_path, images, share):
    augment = LatentAugment("digits", POLICY, p=1.0, seed=3, residual=share)
    (tmp_path / "policy.json").write_text(json.dumps(augment.to_config()))
    again = LatentAugment.from_config(tmp_path / "policy.json", seed=3)
    assert again.residual == share
    assert type(again.residual) is float
    assert torch.equal(again(images), augment(images))


def test_a_document_without_it_has_none_and_a_wrong_one_is_refused():
    document = {"autoencoder": "digits", "policy": POLICY}
    assert LatentAugment.from_config(document).residual == 0
    for wrong in ("all", True, 2, [1]):
        with pytest.raises(InputError, match=r"residual (is|must be)"):
            LatentAugment.from_config({**document, "residual": wrong})


# --- commands


def test_generate_and_the_command_that_the_page_gives(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    view = Explorer().view(Settings(policy=POLICY, residual=0.5, copies=1, seed=7))
    command = recipe.command(view).split()[1:]
    assert command[command.index("--residual") + 1] == "0.5"
    main(["generate", "digits", "--policy", POLICY, "--residual", "0.5", "--seed", "7"])
    made = ShardDataset("runs/shards")
    assert made.manifest.residual == 0.5
    assert within_a_level(torch.stack([made[row][0] for row in view.rows]), view.samples[0])
    assert LatentAugment.from_config(view.config).residual == 0.5


@pytest.mark.slow
def test_the_page_s_code_makes_its_samples():
    view, made = Explorer().view(Settings(policy=POLICY, residual=1.0, copies=2)), {}
    exec(recipe.code(view), made)
    assert within_a_level(made["samples"], view.samples.flatten(0, 1))


@pytest.mark.slow
def test_preview_draws_it_and_a_gan_is_trained_with_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for residual in ("0", "1"):
        main(["preview", "digits", "--policy", POLICY, "--residual", residual, "--out", f"{residual}.png"])
    assert (tmp_path / "0.png").read_bytes() != (tmp_path / "1.png").read_bytes()
    main(["train-gan", "digits", "--method", "gan", "--augment", "both", "--residual", "1", "--steps", "2",
          "--round-steps", "2"])  # fmt: skip
    assert "residual" in capsys.readouterr().out
