"""Latent flows: the contract of every registered one, and that flow matching learns a known distribution."""

from __future__ import annotations

import pytest
import torch

from augmentor._internal.random import seeded
from augmentor._internal.weights import save_network
from augmentor.denoisers import FLOWS, LatentFlow, flow_loss, latent_flow, load_prior
from augmentor.denoisers.flows import noised
from augmentor.exceptions import InputError, UnknownNameError, WeightsError

EVERY = pytest.mark.parametrize("name", sorted(FLOWS))
COUNT, CLASSES = 6, 3


def flow_of(name: str, num_classes: int = CLASSES) -> LatentFlow:
    with seeded(0, name):
        return FLOWS[name].example(num_classes).eval()


def noise_for(flow: LatentFlow, count: int = COUNT) -> torch.Tensor:
    return torch.randn(count, *flow.latent_shape, generator=torch.Generator().manual_seed(0))


@EVERY
@pytest.mark.parametrize("num_classes", [0, CLASSES])
def test_latents_of_the_same_shape_for_each_row_alone_and_after_reading_it_from_a_file(name, num_classes, tmp_path):
    flow = flow_of(name, num_classes)
    noise, labels = noise_for(flow), torch.arange(COUNT) % CLASSES if num_classes else None
    whole = flow.integrate(noise, labels, steps=4)
    assert whole.shape == noise.shape
    assert whole.isfinite().all()
    alone = [
        flow.integrate(noise[i : i + 1], None if labels is None else labels[i : i + 1], steps=4) for i in range(COUNT)
    ]
    torch.testing.assert_close(torch.cat(alone), whole, atol=1e-5, rtol=1e-4)
    save_network(flow, tmp_path / "prior.safetensors")
    assert torch.equal(load_prior(tmp_path).integrate(noise, labels, steps=4), whole)


@EVERY
def test_the_class_matters_and_negative_labels_are_no_class(name):
    flow = flow_of(name)
    noise = noise_for(flow)
    made = [flow.integrate(noise, torch.full((COUNT,), label), steps=3) for label in (0, 1, -1, -100)]
    assert not torch.allclose(made[0], made[1])
    assert torch.equal(made[2], made[3])
    assert torch.equal(made[2], flow.integrate(noise, None, steps=3))
    guided = [flow.integrate(noise, torch.zeros(COUNT).long(), steps=1, guidance=weight) for weight in (0.0, 1.0, 3.0)]
    torch.testing.assert_close(guided[0], flow.integrate(noise, None, steps=1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(guided[2], guided[0] + 3 * (guided[1] - guided[0]), atol=1e-4, rtol=1e-3)


@EVERY
def test_of_the_steps_of_the_whole_path_the_share_of_the_start_is_taken(name, monkeypatch):
    flow, times = flow_of(name), []
    velocity = flow._velocity
    monkeypatch.setattr(flow, "_velocity", lambda z, t, labels: (times.append(float(t[0])), velocity(z, t, labels))[1])
    noise = noise_for(flow)
    flow.integrate(noise, None, start=0.5, steps=10)
    assert times == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1])
    times.clear()
    flow.integrate(noise, None, start=0.01, steps=10)
    assert times == pytest.approx([0.01])
    assert torch.equal(flow.integrate(noise, None, start=0.0), noise)


@EVERY
@pytest.mark.parametrize("start", [1.0, 0.5, 0.07])
def test_the_true_velocity_leads_from_any_time_back_to_the_latent(name, start, monkeypatch):
    flow = flow_of(name)
    noise = noise_for(flow)
    z = 2 * noise.flip(0) + 1
    monkeypatch.setattr(flow, "_velocity", lambda at, t, labels: noise - z)
    torch.testing.assert_close(flow.integrate(noised(z, noise, start), None, start=start, steps=10), z)


def test_a_map_of_any_size_goes_through_the_unet():
    flow = flow_of("unet")
    for size in ((1, 1), (3, 5), (7, 7)):
        z = torch.randn(2, flow.latent_shape[0], *size)
        assert flow(z, torch.tensor([0.2, 0.8]), torch.tensor([0, -1])).shape == z.shape


def test_the_path_goes_from_the_latent_to_the_noise():
    z, noise = torch.randn(4, 3), torch.randn(4, 3)
    assert torch.equal(noised(z, noise, 0.0), z)
    assert torch.equal(noised(z, noise, 1.0), noise)
    t = torch.tensor([0.0, 0.25, 0.5, 1.0])
    torch.testing.assert_close(noised(z, noise, t), (1 - t)[:, None] * z + t[:, None] * noise)


def test_it_learns_two_classes_of_latents():
    """Each is a narrow normal distribution: generated latents have its mean and deviation."""
    means, std, random = torch.tensor([[1.5, 0.0], [-0.5, -1.0]]), 0.2, torch.Generator().manual_seed(0)
    with seeded(0):
        flow = latent_flow((2,), num_classes=2, width=32)
    optimizer = torch.optim.Adam(flow.parameters(), lr=3e-3)
    for _ in range(500):
        labels = torch.randint(2, (128,), generator=random)
        z = means[labels] + std * torch.randn(128, 2, generator=random)
        t, noise = torch.rand(128, generator=random), torch.randn(128, 2, generator=random)
        loss = flow_loss(flow, z, labels, t, noise).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        labels = torch.arange(400) % 2
        made = flow.integrate(torch.randn(400, 2, generator=random), labels)
    for label in range(2):
        torch.testing.assert_close(made[labels == label].mean(0), means[label], atol=0.15, rtol=0)
        assert (made[labels == label].std(0) - std).abs().max() < 0.15


def test_bad_arguments_and_files_are_refused(tmp_path):
    for shape, classes, width in (((0,), 0, 8), ((5,), -1, 8), ((2, 3, 4), 0, 0)):
        with pytest.raises(InputError, match="at least"):
            latent_flow(shape, classes, width)
    with pytest.raises(UnknownNameError, match=r"unknown prior 'digit-prior'; did you mean 'digits-prior'"):
        load_prior("digit-prior")
    (tmp_path / "prior.safetensors").write_bytes(b"no weights")
    with pytest.raises(WeightsError, match="is not a weights file of augmentor"):
        load_prior(tmp_path)
    from augmentor import load_autoencoder

    load_autoencoder("digits").save(tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="expected latent flow weights"):
        load_prior(tmp_path / "other.safetensors")
