"""Every GAN loss keeps the contract of `gan/losses/_base.py`; R1 goes with all of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from augmentor.exceptions import InputError
from augmentor.gan import get_loss, r1_penalty
from augmentor.gan.losses import LOSSES, WassersteinGP
from augmentor.gan.networks import get_discriminator, get_generator

every_loss = pytest.mark.parametrize("name", sorted(LOSSES))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)  # initial weights come from the global generator


@every_loss
def test_text_form_builds_an_equal_loss(name):
    loss = LOSSES[name].example()
    again = get_loss(str(loss))
    assert type(again) is type(loss)
    assert vars(again) == vars(loss)
    assert get_loss(loss) is loss


@every_loss
def test_values_are_finite_scalars_of_the_right_sign(name):
    """Telling apart is better than confusing, and fakes taken for real are better for the generator."""
    loss = get_loss(name)
    for scale in (0.0, 1.0, 1e4):
        real, fake = scale * torch.randn(8, generator=seeded(1)), scale * torch.randn(5, generator=seeded(2))
        for value in (loss.generator(fake), loss.discriminator(real, fake)):
            assert value.shape == ()
            assert value.isfinite()
        # Real rows are averaged: a batch with decoded samples in it weighs as much as one without.
        torch.testing.assert_close(loss.discriminator(real.repeat(3), fake), loss.discriminator(real, fake))
    high, low = torch.ones(4), torch.zeros(4)
    assert loss.discriminator(high, low) < loss.discriminator(low, low) < loss.discriminator(low, high)
    assert loss.generator(high) < loss.generator(low) < loss.generator(-high)


@every_loss
def test_signs_are_those_of_the_least_a_discriminator_can_do(name):
    """Where it cannot tell apart, its best logit (the mean of the targets) is on neither side."""
    loss = get_loss(name)
    logits = torch.linspace(-1, 2, 301)
    blind = torch.stack([loss.discriminator(logit[None], logit[None]) for logit in logits])
    flat = logits[blind <= blind.min() + 1e-6]
    assert flat.min() - 1e-3 <= loss.undecided <= flat.max() + 1e-3
    assert float(loss.signs(torch.tensor([loss.undecided - 0.1, loss.undecided + 0.1]))) == 0
    assert float(loss.signs(torch.tensor([loss.undecided + 0.1]))) == 1


@every_loss
def test_losses_and_penalties_have_gradients_and_touch_no_global_state(name):
    loss, generator = get_loss(name), get_generator("resnet").example()
    discriminator = get_discriminator("resnet").example()
    real, fake = torch.rand(6, 1, 8, 8), generator(torch.randn(4, generator.latent_dim))
    discriminator.eval()

    def told(network):
        return any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())

    state = torch.get_rng_state()
    first = loss.penalty(discriminator, real, fake, seeded())
    assert first.shape == ()
    assert first >= 0
    assert torch.equal(first, loss.penalty(discriminator, real, fake, seeded()))
    (r1_penalty(discriminator, real) + first).backward()
    assert torch.equal(state, torch.get_rng_state())
    assert told(discriminator.head.linear)
    discriminator.zero_grad()
    loss.discriminator(discriminator(real), discriminator(fake.detach())).backward()
    assert told(discriminator)
    assert not told(generator)
    loss.generator(discriminator(fake)).backward()
    assert told(generator)


def test_wgan_penalty_is_the_distance_of_the_slope_from_one():
    direction = nn.functional.normalize(torch.randn(12, generator=seeded()), dim=0)

    def penalty(slope):
        real, fake = torch.rand(6, 3, 2, 2), torch.rand(4, 3, 2, 2)
        loss = WassersteinGP(weight=5)
        return loss.penalty(lambda images: slope * images.flatten(1) @ direction, real, fake, seeded()).item()

    assert penalty(1) == pytest.approx(0, abs=1e-10)
    assert penalty(2) == pytest.approx(5, rel=1e-5)  # 5 * (2 - 1)^2


def test_wgan_penalty_looks_between_the_samples_and_is_finite_where_the_critic_is_flat():
    seen = []
    WassersteinGP().penalty(
        lambda x: seen.append(x.detach()) or x.sum(1), torch.zeros(500, 2), torch.ones(500, 2), seeded()
    )
    assert seen[0].min() < 0.05
    assert seen[0].max() > 0.95
    assert seen[0].mean().item() == pytest.approx(0.5, abs=0.05)
    assert torch.equal(seen[0][:, 0], seen[0][:, 1])  # one share for the whole sample
    critic = nn.Linear(2, 1)
    nn.init.zeros_(critic.weight)
    value = WassersteinGP().penalty(lambda x: critic(x)[:, 0], torch.rand(4, 2), torch.rand(4, 2), seeded())
    value.backward()
    assert value.item() == pytest.approx(10)
    assert critic.weight.grad.isfinite().all()


def test_wgan_weight_is_checked():
    for weight in (0, float("nan")):
        with pytest.raises(InputError, match="weight > 0"):
            WassersteinGP(weight)


def test_r1_of_a_quadratic_discriminator():
    real = torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    value = r1_penalty(lambda x: x.square().sum(1), real)
    assert value.item() == pytest.approx(0.5 * (4 * 1 + 4 * 9) / 2)
    assert not real.requires_grad


@every_loss
def test_a_few_steps_move_the_generator_to_the_data(name):
    """A generator that only shifts its noise finds a cloud in the plane, a short way off."""
    loss, target = get_loss(name), torch.tensor([1.5, -1.0])
    shift = nn.Parameter(torch.zeros(2))
    critic = nn.Sequential(nn.Linear(2, 32), nn.SiLU(), nn.Linear(32, 1), nn.Flatten(0))
    of_critic = torch.optim.Adam(critic.parameters(), lr=0.01, betas=(0.5, 0.9))
    of_shift = torch.optim.Adam([shift], lr=0.02, betas=(0.5, 0.9))
    random = seeded()
    for step in range(400):
        real = target + 0.5 * torch.randn(64, 2, generator=random)
        fake = shift + 0.5 * torch.randn(64, 2, generator=random)
        optimizer, value = of_shift, loss.generator(critic(fake))
        if step % 4 < 3:  # three steps of the critic to one of the generator
            optimizer, value = of_critic, loss.discriminator(critic(real), critic(fake.detach()))
            value = value + loss.penalty(critic, real, fake, random)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    assert (shift.detach() - target).norm() < 0.5 * target.norm()
