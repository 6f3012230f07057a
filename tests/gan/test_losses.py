"""Every GAN loss keeps the contract of `gan/losses/_base.py`; R1 goes with all of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from augmentor.exceptions import InputError, UnknownNameError
from augmentor.gan import GANLoss, get_loss, losses, r1_penalty
from augmentor.gan.losses import WassersteinGP
from augmentor.gan.networks import get_discriminator, get_generator

every_loss = pytest.mark.parametrize("name", losses.names())


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)  # initial weights come from the global generator


def test_the_promised_losses_are_there():
    assert {"nonsaturating", "hinge", "lsgan", "wgan_gp"} <= set(losses.names())


@every_loss
def test_text_form_builds_an_equal_loss(name):
    loss = losses.get(name).example()
    again = get_loss(str(loss))
    assert type(again) is type(loss)
    assert vars(again) == vars(loss)
    assert get_loss(loss) is loss


def test_unknown_loss_is_refused_with_a_guess():
    with pytest.raises(UnknownNameError, match="did you mean 'hinge'"):
        get_loss("hing")


@every_loss
def test_values_are_finite_scalars(name):
    loss = get_loss(name)
    for scale in (0.0, 1.0, 1e4):
        real, fake = scale * torch.randn(8, generator=chance(1)), scale * torch.randn(5, generator=chance(2))
        for value in (loss.generator(fake), loss.discriminator(real, fake)):
            assert value.shape == ()
            assert value.isfinite()


@every_loss
def test_right_sign(name):
    """Telling apart is better than confusing, and fakes taken for real are better for the generator."""
    loss = get_loss(name)
    high, low = torch.ones(4), torch.zeros(4)
    assert loss.discriminator(high, low) < loss.discriminator(low, low) < loss.discriminator(low, high)
    assert loss.generator(high) < loss.generator(low) < loss.generator(-high)


def test_signs_are_those_of_the_least_a_discriminator_can_do():
    """Where it cannot tell apart, its best logit (the mean of the targets) is on neither side."""
    for name, undecided in (("nonsaturating", 0.0), ("hinge", 0.0), ("lsgan", 0.5)):
        loss = get_loss(name)
        logits = torch.linspace(-1, 2, 301, requires_grad=True)
        blind = torch.stack([loss.discriminator(logit[None], logit[None]) for logit in logits])
        flat = logits[blind <= blind.min() + 1e-6]
        assert flat.min() - 1e-3 <= undecided <= flat.max() + 1e-3
        assert float(loss.signs(torch.tensor([undecided - 0.1, undecided + 0.1]))) == 0
        assert float(loss.signs(torch.tensor([undecided + 0.1]))) == 1


@every_loss
def test_real_rows_are_averaged_not_summed(name):
    """A real batch with decoded samples in it weighs as much as one without."""
    loss = get_loss(name)
    real, fake = torch.randn(4, generator=chance()), torch.randn(4, generator=chance(1))
    torch.testing.assert_close(loss.discriminator(real.repeat(3), fake), loss.discriminator(real, fake))


@every_loss
def test_gradients_reach_both_networks(name):
    loss = get_loss(name)
    generator, discriminator = get_generator("dcgan").example(), get_discriminator("dcgan").example()
    real = torch.rand(6, 1, 8, 8)
    fake = generator(torch.randn(4, generator.latent_dim))
    value = loss.discriminator(discriminator(real), discriminator(fake.detach()))
    value = value + loss.penalty(discriminator, real, fake, chance())
    value.backward()
    assert all(p.grad is None for p in generator.parameters())
    assert sum(p.grad.abs().sum() for p in discriminator.parameters()) > 0
    loss.generator(discriminator(fake)).backward()
    assert sum(p.grad.abs().sum() for p in generator.parameters()) > 0


@every_loss
@pytest.mark.parametrize("network", ["dcgan", "resnet"])
def test_penalties_have_gradients_and_touch_no_global_state(name, network):
    loss, discriminator = get_loss(name), get_discriminator(network).example().eval()
    real, fake = torch.rand(6, 1, 8, 8), torch.rand(4, 1, 8, 8)
    state = torch.get_rng_state()
    first = loss.penalty(discriminator, real, fake, chance())
    assert first.shape == ()
    assert first >= 0
    assert torch.equal(first, loss.penalty(discriminator, real, fake, chance()))
    (r1_penalty(discriminator, real) + first).backward()
    assert torch.equal(state, torch.get_rng_state())
    head = discriminator.head.linear
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())


@pytest.mark.parametrize("rows", [(6, 4), (4, 6), (5, 5)])
def test_wgan_penalty_is_nil_for_a_critic_of_unit_slope(rows):
    direction = nn.functional.normalize(torch.randn(12, generator=chance()), dim=0)
    real, fake = torch.rand(rows[0], 3, 2, 2), torch.rand(rows[1], 3, 2, 2)
    seen = []

    def critic(images):
        seen.append(len(images))
        return images.flatten(1) @ direction

    assert WassersteinGP().penalty(critic, real, fake, chance()).item() == pytest.approx(0, abs=1e-10)
    assert seen == [min(rows)]
    doubled = WassersteinGP(weight=5).penalty(lambda x: 2 * critic(x), real, fake, chance())
    assert doubled.item() == pytest.approx(5.0, rel=1e-5)  # 5 * (2 - 1)^2


def test_wgan_penalty_looks_between_the_samples():
    real, fake = torch.zeros(500, 2), torch.ones(500, 2)
    seen = []
    WassersteinGP().penalty(lambda x: seen.append(x.detach()) or x.sum(1), real, fake, chance())
    assert seen[0].min() < 0.05
    assert seen[0].max() > 0.95
    assert seen[0].mean().item() == pytest.approx(0.5, abs=0.05)
    assert torch.equal(seen[0][:, 0], seen[0][:, 1])  # one share for the whole sample


def test_wgan_penalty_is_finite_where_the_critic_is_flat():
    critic = nn.Linear(2, 1)
    nn.init.zeros_(critic.weight)
    value = WassersteinGP().penalty(lambda x: critic(x)[:, 0], torch.rand(4, 2), torch.rand(4, 2), chance())
    value.backward()
    assert value.item() == pytest.approx(10)
    assert critic.weight.grad.isfinite().all()


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf")])
def test_wgan_weight_is_checked(weight):
    with pytest.raises(InputError, match="weight > 0"):
        WassersteinGP(weight)


def test_r1_of_a_linear_discriminator():
    slope = torch.tensor([3.0, 4.0])
    assert r1_penalty(lambda x: x @ slope, torch.randn(7, 2)).item() == pytest.approx(12.5)


def test_r1_of_a_quadratic_discriminator_depends_on_the_samples():
    real = torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    value = r1_penalty(lambda x: x.square().sum(1), real)
    assert value.item() == pytest.approx(0.5 * (4 * 1 + 4 * 9) / 2)
    assert not real.requires_grad


@every_loss
def test_a_few_steps_move_the_generator_to_the_data(name):
    """A generator that only shifts its noise finds a cloud in the plane, a short way off."""
    loss: GANLoss = get_loss(name)
    target = torch.tensor([1.5, -1.0])
    shift = nn.Parameter(torch.zeros(2))
    critic = nn.Sequential(nn.Linear(2, 32), nn.SiLU(), nn.Linear(32, 1), nn.Flatten(0))
    of_critic = torch.optim.Adam(critic.parameters(), lr=0.01, betas=(0.5, 0.9))
    of_shift = torch.optim.Adam([shift], lr=0.02, betas=(0.5, 0.9))
    random = chance()
    for step in range(400):
        real = target + 0.5 * torch.randn(64, 2, generator=random)
        fake = shift + 0.5 * torch.randn(64, 2, generator=random)
        if step % 4 < 3:  # three steps of the critic to one of the generator
            value = loss.discriminator(critic(real), critic(fake.detach()))
            value = value + loss.penalty(critic, real, fake, random)
            of_critic.zero_grad()
            value.backward()
            of_critic.step()
        else:
            of_shift.zero_grad()
            loss.generator(critic(fake)).backward()
            of_shift.step()
    assert (shift.detach() - target).norm() < 0.5 * target.norm()
