"""The training methods that build on an autoencoder: what each is, that it learns, what it leaves."""

from __future__ import annotations

import copy
import inspect
import json
import warnings

import pytest
import torch
from tiny import equal, pictures, trainer_of

from augmentor import LatentAugment, load_autoencoder
from augmentor._internal.engine import Engine
from augmentor._internal.random import seeded
from augmentor.autoencoders import Autoencoder, CallableAutoencoder, autoencoders
from augmentor.cli import main
from augmentor.data import ArrayDataset
from augmentor.exceptions import DataError, InputError, UnknownNameError
from augmentor.gan import get_augmentation, get_method, load_generator
from augmentor.gan.feed import Feed
from augmentor.gan.methods import LatentGAN, methods
from augmentor.quality import ModuleFeatures
from augmentor.training import AutoencoderTrainer, train_classifier

NAMES = [name for name in methods.names() if "autoencoder" in inspect.signature(methods.get(name)).parameters]
FAMILIES = {
    "vae": "vae(image_shape=(1, 12, 10), latent_dim=5, width=4)",
    "spatial_kl": "spatial_kl(channels=1, latent_channels=2, width=4)",
}


def made(text: str) -> Autoencoder:
    """An untrained one, the same at every call."""
    with seeded(0, text):
        return autoencoders.build(text).eval()


def method_on(name: str, autoencoder: Autoencoder, **settings):
    settings = {"num_classes": 10, "network": "dcgan(width=8)", "lr": 1e-3, **settings}
    return get_method(name, autoencoder=autoencoder, **settings)


def train(method, data, **settings):
    """The trainer, after it, and the averaged generator."""
    trainer = trainer_of(method, **{"steps": 3, "batch_size": 16, **settings})
    return trainer, trainer.fit(data)


@pytest.fixture(scope="module")
def odd() -> ArrayDataset:
    return pictures((1, 12, 10), num_classes=2)


# All of them


@pytest.fixture(scope="module")
def classifier(digits) -> torch.nn.Module:
    """The last hidden layer of one that knows the digits: codes of a wrong shape may have the right covariance."""

    def layers(channels: int, num_classes: int) -> torch.nn.Module:
        hidden = [torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 32), torch.nn.ReLU()]
        return torch.nn.Sequential(torch.nn.Flatten(), *hidden, torch.nn.Linear(32, num_classes))

    return ModuleFeatures(train_classifier(layers, digits, num_classes=10, steps=200)[:-1])


@pytest.mark.slow
@pytest.mark.parametrize("name", methods.names())
def test_it_learns_digits(name, classifier, digits):
    """From an autoencoder that has learnt little where the method improves it, else from one that has learnt."""
    hasty = made("vae(image_shape=(1, 8, 8), latent_dim=8, width=8)")
    AutoencoderTrainer(hasty, steps=26, batch_size=128, transform=None, progress=False).fit(digits)
    start, steps = (load_autoencoder("digits"), 400) if name in ("latent-gan", "flow") else (hasty, 160)
    of_discriminator = {"r1_gamma": 0.1} if methods.get(name).adversarial else {}

    def fid(steps):
        method = method_on(name, start, image_shape=(1, 8, 8), network="dcgan(width=12)", **of_discriminator)
        settings = {"batch_size": 32, "round_steps": 125, "ema_decay": 0.95, "features": classifier}
        return train(method, digits.subset(torch.arange(400)), steps=steps, **settings)[0].history[-1]["fid"]

    before, after = fid(1), fid(steps)
    assert after < before / 3


def test_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # `main` takes it over
    main(["train-gan", "digits", "--method", "latent-gan", "--autoencoder", "digits", "--steps", "2", "--batch-size",
          "8", "--round-steps", "2", "--device", "cpu", "--out", f"{tmp_path}/gan"])  # fmt: skip
    assert json.loads((tmp_path / "gan" / "run.json").read_text())["method"] == "latent-gan"
    assert load_generator(tmp_path / "gan" / "generator.safetensors").image_shape == (1, 8, 8)


def test_an_adapted_autoencoder_augments_and_is_no_start(few):
    adapted = CallableAutoencoder(lambda x: x.flatten(1), lambda z: z.reshape(-1, 1, 8, 8), (1, 8, 8), version="same")
    for name in NAMES:
        with pytest.raises(InputError, match=r"unknown for an adapted one \(callable\)"):
            method_on(name, adapted)
    augmentation = get_augmentation("both", LatentAugment(adapted))
    train(get_method("gan", network="dcgan(width=8)", image_shape=(1, 8, 8), augmentation=augmentation), few)


# ae-init


def seen_by(layer: torch.nn.Module, call) -> torch.Tensor:
    """What a layer is given when this is called, (B,F)."""
    seen: list[torch.Tensor] = []
    with layer.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].flatten(1))):
        call()
    return seen[0]


@pytest.mark.parametrize("family", ["vae", "spatial_kl"])
def test_ae_init_starts_as_the_decoder_on_the_codes_of_a_class_and_as_the_encoder(family, odd):
    model = made(FAMILIES[family])
    method = method_on("ae-init(bandwidth=1)", copy.deepcopy(model), image_shape=(1, 12, 10), num_classes=2)
    method.prepare(Feed(odd, 8, 0, Engine("cpu"), labelled=True))
    generator, discriminator = method.generator, method.discriminator
    raw = model.encode(odd.images).mean
    z = model.stats.fit([raw]).standardise(raw).flatten(1)
    means, factors = generator.means, generator.factors
    assert torch.allclose(means, torch.stack([z[odd.targets == label].mean(0) for label in (0, 1)]), atol=1e-4)
    assert torch.linalg.matrix_norm(factors[0] @ factors[0].T - z[odd.targets == 0].T.cov()) < 0.7 * z.shape[1]
    labels = torch.tensor([0, 1, 1, 0])
    noise = torch.randn(4, generator.latent_dim, generator=torch.Generator().manual_seed(1))
    codes = torch.stack([means[label] + factors[label] @ row for label, row in zip(labels, noise, strict=True)])
    drawn = model.decode(model.stats.unstandardise(codes.reshape(4, *generator.latent_shape)), (12, 10))
    assert torch.allclose(generator(noise, labels), drawn, atol=1e-5)
    by_head = seen_by(discriminator.head, lambda: discriminator(odd.images / 255, odd.targets))
    assert torch.allclose(by_head, seen_by(model.encoder[-1], lambda: model.encode(odd.images)), atol=1e-5)


@pytest.mark.parametrize("name", ["ae-init", "vae-gan"])
def test_all_classes_are_there_when_only_a_part_of_the_images_is_encoded(name, monkeypatch):
    """Every second of these images has an even label; class 3 has three images."""
    monkeypatch.setattr("augmentor.gan.methods._codes._ENCODED", 100)
    labels = torch.cat([torch.arange(198) % 2, torch.full((3,), 3), torch.full((2,), 2)])
    images = torch.randint(0, 256, (len(labels), 1, 12, 10), generator=torch.Generator().manual_seed(0))
    method = method_on(name, made(FAMILIES["vae"]), image_shape=(1, 12, 10), num_classes=4)
    data = ArrayDataset(images.to(torch.uint8), labels)
    method.prepare(Feed(data, 8, 0, Engine("cpu"), labelled=True))
    assert 100 <= int(method.generator.counts.sum()) <= 108
    assert all(2 <= count <= 50 for count in method.generator.counts.tolist())


def test_what_is_no_start_is_refused():
    with pytest.raises(InputError, match=r"must be an Autoencoder, such as .*, got 'digits'"):
        get_method("ae-init", autoencoder="digits")
    with pytest.raises(InputError, match=r"latents \(12, 16, 16\).* at most 2048 values"):
        method_on("ae-init", load_autoencoder("natural"), image_shape=(3, 64, 64))
    one = pictures((1, 12, 10), num_classes=1, count=1)
    with pytest.raises(DataError, match="at least 2 images, got 1"):
        train(method_on("ae-init", made(FAMILIES["vae"]), image_shape=(1, 12, 10), num_classes=0), one)


def drawn_and_real(bandwidth: float, num_classes: int, data: ArrayDataset) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """For each class, 5000 codes that an ae-init generator draws, and those of the real images."""
    model = made(FAMILIES["vae"])
    settings = {"image_shape": (1, 12, 10), "num_classes": num_classes, "autoencoder": model}
    method = get_method(f"ae-init(bandwidth={bandwidth})", **settings)
    method.prepare(Feed(data, 8, 0, Engine("cpu"), labelled=num_classes > 0))
    raw = model.encode(data.images).mean
    real = model.stats.fit([raw]).standardise(raw)
    noise = torch.randn(5000, method.generator.latent_dim, generator=torch.Generator().manual_seed(0))
    if num_classes == 0:
        return [(method.generator.codes(noise), real)]
    classes = torch.eye(num_classes, dtype=torch.long).argmax(0)
    return [(method.generator.codes(noise, label.expand(5000)), real[data.targets == label]) for label in classes]


@pytest.mark.parametrize("num_classes", [0, 2])
def test_with_a_small_bandwidth_codes_are_those_of_all_real_images_of_the_class(num_classes, odd):
    for drawn, real in drawn_and_real(1e-3, num_classes, odd):
        apart = torch.cdist(drawn, real)
        assert apart.amin(1).max() < 0.02
        chosen = apart.argmin(1).bincount(minlength=len(real)) * len(real) / 5000
        assert 0.7 < chosen.min() <= chosen.max() < 1.3


@pytest.mark.parametrize("bandwidth", [0.3, 0.7])
def test_codes_have_the_mean_and_covariance_of_the_real_ones_at_any_bandwidth(bandwidth, odd):
    exact = drawn_and_real(1.0, 2, odd)
    for (drawn, real), (gaussian, _) in zip(drawn_and_real(bandwidth, 2, odd), exact, strict=True):
        assert torch.allclose(drawn.mean(0), real.mean(0), atol=0.08)
        # The normal distribution's covariance is shrunk to a multiple of the identity, so between both.
        shrunk, sample, found = gaussian.T.cov(), real.T.cov(correction=0), drawn.T.cov()
        expected = (1 - bandwidth**2) * sample + bandwidth**2 * shrunk
        assert torch.linalg.matrix_norm(found - expected) < 0.1 * torch.linalg.matrix_norm(expected)


def test_a_generator_that_draws_around_real_codes_is_read_back(few, vae, tmp_path):
    trainer, generator = train(method_on("ae-init", vae, num_classes=10), few, steps=2, out=tmp_path)
    loaded = load_generator(tmp_path)
    assert loaded.num_codes == len(few)
    assert torch.equal(trainer.sample(loaded, 20), trainer.sample(generator, 20))


def test_the_reconstruction_keeps_real_images_within_reach(few, vae):
    def error(reconstruct):
        method = method_on(f"ae-init(reconstruct={reconstruct})", vae, r1_gamma=0.1)
        _, generator = train(method, few, steps=60, ema_decay=0.9)
        codes = vae.stats.standardise(vae.encode(few.images).mean)
        return torch.nn.functional.mse_loss(generator.draw(codes), few.images / 255)

    assert error(50) < 0.7 * error(0)


@pytest.mark.parametrize("text", ["ae-init(bandwidth=0)", "ae-init(bandwidth=1.5)", "ae-init(reconstruct=-1)"])
def test_ae_init_refuses_what_it_cannot_use(text, vae):
    with pytest.raises(InputError, match=r"bandwidth must be above 0 and at most 1|reconstruct >= 0"):
        method_on(text, vae)


def test_ae_init_needs_images_of_each_class(odd):
    model = made(FAMILIES["vae"])
    lonely = ArrayDataset(odd.images[:5], torch.tensor([0, 0, 1, 0, 0]), ["a", "b"])
    with pytest.raises(DataError, match="class 1 has 1 images"):
        train(method_on("ae-init", model, image_shape=(1, 12, 10), num_classes=2), lonely)
    with pytest.raises(DataError, match="class 2 has 0 images"):
        train(method_on("ae-init", model, image_shape=(1, 12, 10), num_classes=3), odd)
    with pytest.raises(InputError, match="takes images of any size; give image_shape"):
        method_on("ae-init", made(FAMILIES["spatial_kl"]))
    with pytest.raises(UnknownNameError, match="unknown discriminator 'decoder'"):
        get_method("gan", network="decoder", image_shape=(1, 28, 28))


@pytest.mark.parametrize("text", ["vae-gan", "guided-gan(refit_steps=3)"])
def test_an_autoencoder_that_was_trained_along_is_left_and_augments(text, few, vae, tmp_path):
    train(method_on(text, vae), few, steps=4, out=tmp_path)
    path = tmp_path / "autoencoder.safetensors"
    loaded = load_autoencoder(path)
    assert not equal(loaded, vae)
    z = loaded.stats.standardise(loaded.encode(few.images).mean)
    assert torch.allclose(z.mean(0), torch.zeros(8), atol=1e-4)
    assert torch.allclose(z.std(0, correction=0), torch.ones(8), atol=1e-3)
    assert not torch.equal(LatentAugment(path, p=1.0)(few.images), few.images)


# vae-gan


def test_vae_gan_builds_an_autoencoder_from_a_text(few):
    text, network = "vae-gan(autoencoder='vae(latent_dim=5, width=4)', beta=2)", "dcgan(width=8)"
    method = get_method(text, image_shape=(1, 8, 8), num_classes=10, network=network)
    assert train(method, few)[1].latent_shape == (5,)
    spatial = get_method("vae-gan(autoencoder='spatial_kl(width=4)')", image_shape=(3, 16, 12), network=network)
    assert spatial.generator.latent_shape == (4, 4, 3)
    with pytest.raises(InputError, match="takes a variational autoencoder"):
        method_on("vae-gan", made("dense(image_shape=(1, 8, 8), latent_dim=5, hidden=[16])"))
    with pytest.raises(InputError, match="beta >= 0"):
        get_method("vae-gan(beta=-1)", image_shape=(1, 8, 8))


def test_the_adversarial_loss_does_not_reach_the_encoder(few, vae):
    def moved(weight):
        method = method_on(f"vae-gan(weight={weight})", vae)
        train(method, few, steps=2)
        model = method.generator.model
        return not equal(model.encoder, vae.encoder), not equal(model.decoder, vae.decoder)

    assert moved(weight=0) == (False, True)
    assert moved(weight=1) == (True, True)


# latent-gan


def test_latent_gan_tells_standard_codes_apart_and_keeps_the_decoder(few, vae):
    method = method_on("latent-gan", vae)
    train(method, few)
    batch = method.feed.batch(0)
    expected = vae.stats.standardise(vae.encode(batch.images).mean)
    assert torch.allclose(method.seen(batch).images, expected)
    assert equal(method.generator.model.decoder, vae.decoder)
    assert equal(method.generator.model.stats, vae.stats)
    with pytest.raises(InputError, match="takes no images"):
        LatentGAN(vae, augmentation="diffaugment")


# guided-gan


def test_guided_gan_refits_its_autoencoder_on_what_the_gate_lets_pass(few, vae, monkeypatch):
    method = method_on("guided-gan(refit_steps=3)", vae)
    trained_on = []
    losses = type(vae).training_losses

    def spied(model, images, *arguments, **settings):
        trained_on.append(len(images))
        return losses(model, images, *arguments, **settings)

    monkeypatch.setattr(type(vae), "training_losses", spied)
    trainer, _ = train(method, few, steps=4)
    passed = [row["passed"] for row in trainer.history]
    assert [sum(trained_on[at : at + 3]) for at in (0, 3)] == [round(48 * (1 + share)) for share in passed]
    assert len(trained_on) == 2 * 3


def test_the_gate_of_guided_gan_lets_reconstructions_pass_and_no_copies(few, vae):
    class Draws(torch.nn.Module):
        latent_dim = 8

        def __init__(self, images):
            super().__init__()
            self.images = images

        def forward(self, noise, labels):
            return self.images

    def passed(images):
        method = method_on("guided-gan(refit_steps=1)", vae)
        train(method, few, steps=1)
        method.start_round(1, Draws(images))
        return method.status()["passed"]

    real = few.images[:16] / 255
    assert passed(real) == 0
    assert passed(vae(real)) > 0.5


def test_the_terms_of_guided_gan_are_small_for_real_images(few, vae):
    method = method_on("guided-gan(match=2, reconstruct=3)", vae)
    train(method, few, steps=1)
    batch = method.feed.batch(0)
    logits = torch.zeros(len(batch.images))
    method.generator = lambda noise, labels: batch.images  # draws each real image from its code
    losses = method.generator_losses(batch.images, logits, batch)
    assert float(losses["match"]) == float(losses["reconstruction"]) == 0
    assert method.generator_losses(0 * batch.images, logits, batch)["match"] > 0.1
    method.generator = lambda noise, labels: 1 - batch.images
    apart = 3 * (1 - 2 * batch.images).square().mean()
    assert torch.isclose(method.generator_losses(batch.images, logits, batch)["reconstruction"], apart)


def test_guided_gan_needs_noise_as_long_as_a_code(vae):
    assert method_on("guided-gan", vae).generator.latent_dim == 8
    with pytest.raises(InputError, match="codes of 8 numbers as noise, and the generator takes noise of 5"):
        method_on("guided-gan", vae, network="dcgan(latent_dim=5)")
    with pytest.raises(InputError, match="match >= 0"):
        method_on("guided-gan(match=-1)", vae)
