"""The policy `denoise` with a trained prior: what it keeps, what it needs, and what it refuses."""

from __future__ import annotations

import json
import pickle
import shlex

import pytest
import torch

from augmentor import LatentAugment, load_autoencoder
from augmentor._internal.random import SampleRandom, sample_keys, seeded
from augmentor._internal.weights import save_network
from augmentor.cli import main
from augmentor.denoisers import FLOWS, Denoising, PriorDenoiser, get_denoiser
from augmentor.exceptions import AugmentorWarning, InputError, OutputError, UnknownNameError
from augmentor.latents import Latents, LatentStats
from augmentor.policies import Compose, Denoise, get_policy
from augmentor.shards import ShardDataset, generate_shards

PRIOR = "denoise('digits-prior', strength={})"


def augment_of(strength: float, **settings) -> LatentAugment:
    return LatentAugment("digits", PRIOR.format(strength), p=1.0, residual=0, **settings)


def classified(augment: LatentAugment, digits, images: torch.Tensor) -> torch.Tensor:
    """The class of the nearest real latents of other images."""
    with torch.no_grad():
        codes = augment.autoencoder.encode(images).mean
        real = augment.autoencoder.encode(digits.images[900:]).mean
    nearest = torch.cdist(codes, real).topk(5, largest=False).indices
    return digits.targets[900:][nearest].mode(1).values


def test_the_class_that_is_given_is_the_one_that_is_made(digits):
    """A weak one keeps the digit, a full one makes another digit of the class; of the wrong class if told so."""
    images, labels = digits.images[:200], digits.targets[:200]
    for strength in (0.3, 1.0):
        augment = augment_of(strength, seed=0)
        assert (classified(augment, digits, augment(images, labels)[0]) == labels).float().mean() > 0.9
    other = (labels + 1) % 10
    made = augment_of(1.0, seed=0)(images, other)[0]
    assert (classified(augment, digits, made) == other).float().mean() > 0.9


def test_a_higher_strength_moves_further_and_zero_is_the_reconstruction(digits):
    images, labels = digits.images[:100], digits.targets[:100]
    with pytest.warns(AugmentorWarning, match="perturbs nothing"):
        still = augment_of(0.0, seed=0)
    torch.testing.assert_close(still(images.float() / 255, labels)[0], still.autoencoder(images), atol=1e-5, rtol=1e-4)
    moved = [
        (augment_of(strength, seed=0)(images, labels)[0].float() - images).square().mean()
        for strength in (0.1, 0.4, 0.8)
    ]
    assert moved[0] < moved[1] < moved[2]


def test_an_image_becomes_the_same_in_any_batch_and_in_shards(digits, tmp_path):
    images, labels = digits.images[:12], digits.targets[:12]
    augment = augment_of(0.5, seed=3)
    whole = augment(images, labels)[0].int()
    for rows in (slice(0, 1), slice(1, 5), slice(5, 12)):
        part = augment(images[rows], labels[rows])[0].int()
        assert (part - whole[rows]).abs().max() <= 1
    few = digits.subset(torch.arange(12))
    first, second = (
        generate_shards(few, augment_of(0.5), tmp_path / str(n), num_samples=20, progress=False) for n in (1, 2)
    )
    assert [path.read_bytes() for path in sorted(first.glob("*.h5"))] == [
        path.read_bytes() for path in sorted(second.glob("*.h5"))
    ]
    assert [int(label) for _, label in ShardDataset(first)] == [int(labels[n % 12]) for n in range(20)]
    assert json.loads((first / "manifest.json").read_text())["policy"].startswith(
        "denoise(denoiser=prior(source='digits-prior')"
    )


def test_a_folder_that_another_prior_of_the_same_path_began_is_refused(digits, tmp_path):
    few = digits.subset(torch.arange(12))

    def generate(seed: int) -> None:
        saved_prior(tmp_path, 10, seed)
        augment = LatentAugment("digits", Denoise(str(tmp_path)), p=1.0)
        generate_shards(few, augment, tmp_path / "shards", num_samples=12, progress=False)

    generate(0)
    with pytest.raises(OutputError, match="fitted_sha256"):
        generate(1)


def test_its_text_a_config_and_a_pickle_read_back(digits):
    augment = augment_of(0.4, seed=0)
    images, labels = digits.images[:8], digits.targets[:8]
    expected = augment(images, labels)[0]
    for again in (
        LatentAugment.from_config(json.loads(json.dumps(augment.to_config())), seed=0),
        pickle.loads(pickle.dumps(augment)),
    ):
        again.p = 1.0
        assert str(again.policy) == str(augment.policy)
        assert torch.equal(again(images, labels)[0], expected)


def saved_prior(folder, num_classes: int, seed: int = 0):
    """A small flow with random weights on latents of `digits`, in a folder."""
    with seeded(seed, "flow"):
        flow = FLOWS["perceptron"]((16,), num_classes, width=8)
    flow.take_autoencoder(load_autoencoder("digits"))
    save_network(flow, folder / "prior.safetensors")
    return folder


def test_a_prior_without_classes_ignores_the_labels(digits, tmp_path):
    images, labels = digits.images[:12], digits.targets[:12]
    augment = LatentAugment("digits", Denoise(saved_prior(tmp_path, 0)), p=1.0, seed=0)
    made, same = augment(images, labels)
    assert torch.equal(same, labels)
    assert torch.equal(made, augment(images))
    denoiser, raw = augment.policy.denoiser, torch.zeros(12, 16)
    drawn = denoiser.draw((16,), SampleRandom(sample_keys(0, 0, range(12))))
    with_labels, without = (denoiser.denoise(raw, given, drawn, Denoising(0.5, 4, 1.0)) for given in (labels, None))
    assert torch.equal(with_labels, without)


def test_a_class_that_the_prior_does_not_know_is_refused(digits, tmp_path):
    augment = LatentAugment("digits", Denoise(saved_prior(tmp_path, 3)), p=1.0)
    with pytest.raises(
        InputError, match="class numbers from 0 to 2, got 9; use a denoiser that was trained with all classes"
    ):
        augment(digits.images[:12], digits.targets[:12])


@pytest.mark.parametrize("name", sorted(FLOWS))
def test_rows_labels_and_shapes_as_for_every_policy(name, tmp_path):
    """As tests/policies/test_policies.py, for latents that the flow was built for."""
    flow = FLOWS[name].example(3)
    save_network(flow, tmp_path / "prior.safetensors")
    random = torch.Generator().manual_seed(0)
    z, labels = torch.randn(6, *flow.latent_shape, generator=random), torch.tensor([0, 1, 2, 0, 1, -100])
    stats = LatentStats(flow.latent_shape).fit([5 + 3 * torch.randn(50, *flow.latent_shape, generator=random)])
    latents = Latents(z, None, labels, stats=stats)
    for policy in (Denoise(str(tmp_path), 0.6, steps=5), Compose(Denoise(str(tmp_path), 0.6, steps=5), "gaussian")):
        assert policy.needs_labels
        again = get_policy(str(policy))
        draws = [SampleRandom(sample_keys(1, 0, range(6))) for _ in range(2)]
        whole = policy(latents, draws[0])
        assert torch.equal(again(latents, draws[1]).z, whole.z)
        assert whole.z.shape == z.shape
        assert torch.equal(whole.labels, labels)
        alone = [policy(latents.take(torch.tensor([n])), SampleRandom(sample_keys(1, 0, [n]))).z for n in range(6)]
        torch.testing.assert_close(torch.cat(alone), whole.z, atol=1e-4, rtol=1e-3)
        soft = torch.nn.functional.one_hot(labels.clamp_min(0), 3).float()[:5]
        mixed = policy(Latents(z[:5], None, soft, stats=stats), SampleRandom(sample_keys(1, 0, range(5))))
        torch.testing.assert_close(mixed.z, whole.z[:5], atol=1e-4, rtol=1e-3)


def test_other_statistics_of_the_same_autoencoder_do_not_matter(digits):
    """The flow has its own: a transform that was fitted on other images noises the same raw latents."""
    policy = Denoise("digits-prior", 0.4)
    augment = LatentAugment("digits", policy, p=1.0, residual=0)
    raw = augment.autoencoder.encode(digits.images[:8]).mean
    other = LatentStats((16,)).fit([3 * raw + 1])
    made = []
    for stats in (augment.autoencoder.stats, other):
        latents = Latents(stats.standardise(raw), None, digits.targets[:8], stats=stats)
        made.append(stats.unstandardise(policy(latents, SampleRandom(sample_keys(0, 0, range(8)))).z))
    torch.testing.assert_close(made[0], made[1], atol=1e-3, rtol=1e-3)


def test_an_autoencoder_that_does_not_fit_is_refused():
    for name in ("mnist", "natural"):
        with pytest.raises(InputError, match=r"trained on latents \(16,\) of another autoencoder.*train-prior"):
            LatentAugment(name, PRIOR.format(0.4))
        with pytest.raises(InputError, match="another autoencoder"):
            LatentAugment(name, f"compose(gaussian, {PRIOR.format(0.4)})")
    other = load_autoencoder("digits")
    with torch.no_grad():
        next(other.parameters()).mul_(1.01)
    with pytest.raises(InputError, match="another autoencoder"):
        LatentAugment(other, PRIOR.format(0.4))


def test_auto_is_checked_once_it_is_chosen(digits):
    augment = LatentAugment(policy=PRIOR.format(0.4), p=1.0)
    augment.choose_for(digits)
    assert augment.shown_name == "digits"
    with pytest.raises(InputError, match="another autoencoder"):
        LatentAugment(policy=PRIOR.format(0.4), p=1.0)(digits.images[:8], digits.targets[:8])  # takes natural


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("denoise('digits-prior', strength=1.5)", "strength from 0 to 1"),
        ("denoise('digits-prior', strength=-0.1)", "strength from 0 to 1"),
        ("denoise('digits-prior', steps=0)", "steps >= 1"),
        ("denoise('digits-prior', guidance=-1)", "guidance of at least 0"),
        ("denoise", "missing a required argument"),
    ],
)
def test_bad_settings_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        get_policy(text)


def test_bad_denoisers_are_refused():
    with pytest.raises(UnknownNameError, match="unknown prior 'nothing'"):
        get_policy("denoise('nothing')")
    with pytest.raises(InputError, match="expected a denoiser, the name or path of a prior"):
        get_denoiser(3)


def test_a_live_flow_is_used_as_it_is_and_says_that_it_has_no_text():
    flow = FLOWS["perceptron"].example(2)
    policy = Denoise(PriorDenoiser(flow))
    assert str(policy).startswith("denoise(denoiser=prior(source='<PerceptronFlow>')")
    with pytest.raises(UnknownNameError):
        get_policy(str(policy))


@pytest.mark.slow
def test_from_a_folder_of_images_to_shards_by_commands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["train-prior", "digits", "--steps", "20", "--round-steps", "10", "--width", "16", "--out", "prior"])
    said = capsys.readouterr().out
    assert "held_out_loss" in said
    assert "augmentor preview digits --autoencoder digits --policy " + shlex.quote("denoise('prior')") in said
    main(["evaluate", "prior", "digits", "--num-samples", "20"])
    main(["generate", "digits", "--autoencoder", "digits", "--policy", "denoise('prior')", "--num-samples", "30",
          "--out", "shards"])  # fmt: skip
    assert len(ShardDataset("shards")) == 30
    with pytest.raises(SystemExit) as stopped:
        main(["train-prior", "digits", "--held-out", "0.0001", "--out", "none"])
    assert stopped.value.code == 2
    assert "too few" in capsys.readouterr().err
