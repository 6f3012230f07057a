"""`residual`: what the autoencoder loses of an image is put back, in every way in."""

from __future__ import annotations

import copy
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


@pytest.mark.parametrize("residual", [0.25, 1.0])
def test_it_adds_what_the_reconstruction_lacks(vae, images, residual):
    plain = sharp(vae, residual=0.0)(images)
    with torch.no_grad():
        expected = (plain + residual * (images - vae(images))).clamp(0, 1)
    assert torch.allclose(sharp(vae, residual=residual)(images), expected, atol=1e-5)
    assert (expected - plain).abs().max() > 0.1 * residual  # this autoencoder does lose something


@pytest.mark.filterwarnings("ignore:LatentAugment with policy:augmentor.exceptions.AugmentorWarning")
def test_what_is_not_perturbed_is_the_image_itself(vae, few, images):
    assert torch.allclose(sharp(vae, "gaussian(std=0)")(images), images, atol=1e-5)
    assert torch.equal(sharp(vae, "gaussian(std=0)")(few.images), few.images)


def test_samples_keep_the_texture_of_an_image(vae, images):
    texture = torch.rand(images.shape, generator=torch.Generator().manual_seed(0))
    given = (0.7 * images + 0.3 * texture).clamp(0, 1)

    def kept(augment: LatentAugment) -> float:
        """How much of the texture is in the samples, by correlation over their pixels."""
        differences = augment(given) - sharp(vae, residual=0.0)(images)
        return float(torch.corrcoef(torch.stack([differences.flatten(), texture.flatten()]))[0, 1])

    assert kept(sharp(vae)) > 2 * kept(sharp(vae, residual=0.0))


def test_other_rows_than_the_chosen_ones_stay(vae, images):
    out = sharp(vae, p=0.5)(images)
    replaced = (out != images).flatten(1).any(1)
    assert 10 < replaced.sum() < 50
    assert torch.allclose(out[replaced], sharp(vae)(images)[replaced], atol=1e-5)


def test_what_a_gate_leaves_alone_is_the_real_image(vae, few):
    augment = sharp(vae, "gaussian(std=50)", gate=QualityGate(redraws=0)).fit(few)
    assert torch.equal(augment.synthesize(few.images), few.images)


def test_gradients_flow_through_it(vae, images):
    given = images[:4].clone().requires_grad_()
    sharp(vae)(given).sum().backward()
    plain = images[:4].clone().requires_grad_()
    sharp(vae, residual=0.0)(plain).sum().backward()
    assert given.grad.isfinite().all()
    assert not torch.allclose(given.grad, plain.grad)


def test_real_and_generated_images_are_treated_alike_in_a_gan(vae, few, images):
    keys = np.arange(len(images), dtype=np.uint64)
    rows = torch.arange(len(images))
    batch = Batch(images, few.targets, keys, rows, rows)
    both, plain = (get_augmentation("both", sharp(vae, residual=share)) for share in (1.0, 0.0))
    assert torch.equal(both.real(batch)[0], both.fake(batch))
    assert not torch.allclose(both.fake(batch), plain.fake(batch), atol=0.01)
    assert both.settings() != plain.settings()


def test_a_number_of_another_kind_is_one_of_ours(vae):
    for share in (1, True, np.float32(1), torch.tensor(1.0)):
        assert type(json.loads(json.dumps(sharp(vae, residual=share).to_config()))["residual"]) is float


@pytest.mark.parametrize("residual", [-0.1, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(vae, residual):
    with pytest.raises(InputError, match="residual is a share between 0 and 1"):
        sharp(vae, residual=residual)


def test_the_text_shows_it(vae):
    assert "residual=1.0" in repr(sharp(vae))
    assert "residual" not in repr(sharp(vae, residual=0.0)).splitlines()[1]


# --- every way in


@pytest.mark.parametrize("policy", [POLICY, "smote(k=3)"])
def test_mixed_data_are_the_same_with_a_cache(vae, few, policy):
    augment = sharp(vae, policy).fit(few)
    plain, cached = MixedDataset(few, augment), MixedDataset(few, augment, cache=LatentCache(few, vae))
    rows = list(range(60, 120))
    for (image, label), (other, its_label) in zip(plain.__getitems__(rows), cached.__getitems__(rows), strict=True):
        assert within_a_level(image, other)
        assert label == its_label


def test_a_loader_is_the_same_with_a_cache(vae, few):
    augment = sharp(vae).fit(few)
    loader = AugmentedLoader(DataLoader(few, batch_size=20), augment, ratio=0.5)
    with_cache = DataLoader(Indexed(few), batch_size=20)
    cached = AugmentedLoader(with_cache, augment, ratio=0.5, cache=LatentCache(few, vae))
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
    with pytest.raises(OutputError, match=r"residual: 1\.0 there, 0\.0 asked"):
        generate_shards(few, sharp(vae, residual=0.0), tmp_path / "shards", num_samples=20)
    with pytest.raises(InputError, match="store images, or leave residual out"):
        generate_shards(few, sharp(vae), tmp_path / "latents", num_samples=20, store="latents")
    assert not (tmp_path / "latents").exists()


def test_albumentations(few):
    image = few.images[0, 0].numpy()[..., None]
    made = A.Compose([augmentor.albumentations.LatentAugment("digits", POLICY, p=1.0, residual=1.0)], seed=0)
    again = A.from_dict(A.to_dict(made))
    plain = A.Compose([augmentor.albumentations.LatentAugment("digits", POLICY, p=1.0)], seed=0)
    given = {"image": image, "sample_key": 3}
    with torch.no_grad():
        lost = images_of(image) - load_autoencoder("digits")(images_of(image))
    expected = (images_of(plain(**given)["image"]) + lost).clamp(0, 1)
    assert (images_of(made(**given)["image"]) - expected).abs().max() < 2 / 255
    assert np.array_equal(again(**given)["image"], made(**given)["image"])
    with pytest.raises(InputError, match="residual"):
        augmentor.albumentations.LatentAugment("digits", POLICY, residual=2.0)


def images_of(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32) / 255).permute(2, 0, 1)[None]


# --- written down


def test_it_comes_back_through_a_policy_json(tmp_path, images):
    augment = LatentAugment("digits", POLICY, p=1.0, seed=3, residual=0.75)
    (tmp_path / "policy.json").write_text(json.dumps(augment.to_config()))
    again = LatentAugment.from_config(tmp_path / "policy.json", seed=3)
    assert again.residual == 0.75
    assert torch.equal(again(images), augment(images))


def test_a_document_without_it_has_none():
    assert LatentAugment.from_config({"autoencoder": "digits", "policy": POLICY}).residual == 0


@pytest.mark.parametrize("wrong", ["all", True, 2, [1]])
def test_a_document_with_a_wrong_one_is_refused(wrong):
    with pytest.raises(InputError, match="residual is"):
        LatentAugment.from_config({"autoencoder": "digits", "policy": POLICY, "residual": wrong})


def test_copies_keep_it(vae, images):
    augment = sharp(vae)
    assert torch.equal(copy.deepcopy(augment)(images), augment(images))


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


def test_the_page_s_code_makes_its_samples():
    view = Explorer().view(Settings(policy=POLICY, residual=1.0, copies=2))
    made: dict = {}
    exec(recipe.code(view), made)
    assert within_a_level(made["samples"], view.samples.flatten(0, 1))


def test_preview_draws_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, residual in (("plain", "0"), ("again", "0"), ("sharp", "1")):
        main(["preview", "digits", "--policy", POLICY, "--residual", residual, "--out", f"{name}.png"])
    plain, again, different = ((tmp_path / f"{name}.png").read_bytes() for name in ("plain", "again", "sharp"))
    assert plain == again != different


def test_a_gan_is_trained_with_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["train-gan", "digits", "--augment", "both", "--residual", "1", "--steps", "2", "--round-steps", "2"])
    assert "residual" in capsys.readouterr().out
