"""What each policy does to a latent is what its docstring and README.md say, number by number."""

from __future__ import annotations

import pytest
import torch

from augmentor import LatentAugment
from augmentor._internal.random import SampleRandom, sample_keys
from augmentor.latents import Latents, ReferenceSet, class_index
from augmentor.policies import get_policy

COUNT, SIZE, CLASSES = 24, 5, 3


def draws() -> SampleRandom:
    return SampleRandom(sample_keys(0, 0, range(COUNT)))


@pytest.fixture
def latents() -> Latents:
    generator = torch.Generator().manual_seed(0)
    z, spread = torch.randn(COUNT, SIZE, generator=generator), 0.1 + torch.rand(COUNT, SIZE, generator=generator)
    return Latents(z, spread, torch.arange(COUNT) % CLASSES)


@pytest.fixture
def reference() -> ReferenceSet:
    labels = torch.arange(90) % CLASSES
    return ReferenceSet(torch.randn(90, SIZE, generator=torch.Generator().manual_seed(1)), labels, CLASSES)


def along(policy: str, latents: Latents, reference: ReferenceSet) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What a policy that needs a reference set makes, its reference samples and its weights (B,1), which lie below its strength."""
    chosen = get_policy(policy)
    params = chosen.draw(latents, draws(), reference)
    weight = params["weight"][:, None]
    assert ((weight >= 0) & (weight < chosen.strength)).all()
    assert weight.max() > 0.7 * chosen.strength
    return chosen.apply(latents, params).z, params["target"], weight


def test_gaussian_adds_noise(latents):
    made = get_policy("gaussian(std=0.7)")(latents, draws())
    assert torch.allclose(made.z, latents.z + 0.7 * draws().normal(SIZE))


def test_posterior_adds_noise_as_wide_as_the_encoders_own_doubt(latents):
    made = get_policy("posterior(factor=2.0)")(latents, draws())
    assert torch.allclose(made.z, latents.z + 2 * latents.posterior_std * draws().normal(SIZE))


def test_posterior_in_a_transform_is_a_sample_of_the_encoders_posterior(digits, vae):
    images = digits.images[:COUNT]
    made = LatentAugment(vae, "posterior(factor=2.0)").perturb_latents(images, None, draws())
    posterior = vae.encode(images)
    noise = draws().normal(*posterior.mean.shape[1:])
    assert torch.allclose(made.raw, posterior.mean + 2 * posterior.std * noise, atol=1e-4)


def test_interpolate_goes_towards_a_partner_and_extrapolate_away_from_it(latents, reference):
    made, target, weight = along("interpolate(strength=0.8)", latents, reference)
    assert torch.allclose(made, latents.z + weight * (target - latents.z), atol=1e-6)
    made, target, weight = along("extrapolate(strength=0.8)", latents, reference)
    assert torch.allclose(made, latents.z - weight * (target - latents.z), atol=1e-6)


def test_slerp_goes_along_the_sphere(latents, reference):
    made, target, weight = along("slerp(strength=1.0)", latents, reference)
    unit = [v / v.norm(dim=1, keepdim=True) for v in (latents.z, target, made)]
    angle, part = ((a * unit[0]).sum(1).clamp(-1, 1).acos() for a in (unit[1], unit[2]))
    assert torch.allclose(part, weight[:, 0] * angle, atol=1e-3)
    lengths = torch.lerp(latents.z.norm(dim=1), target.norm(dim=1), weight[:, 0])
    assert torch.allclose(made.norm(dim=1), lengths, atol=1e-5)


@pytest.mark.parametrize("k", [1, 4])
def test_smote_goes_towards_one_of_the_k_nearest_of_the_class(latents, reference, k):
    made, target, weight = along(f"smote(k={k})", latents, reference)
    assert torch.allclose(made, latents.z + weight * (target - latents.z), atol=1e-6)
    chosen = set()
    for z, label, taken in zip(latents.z, class_index(latents.labels), target, strict=True):
        of_class = reference.z[reference.labels == label]
        order = (of_class - z).norm(dim=1).argsort()
        (rank,) = (rank for rank, row in enumerate(order) if torch.equal(of_class[row], taken))
        chosen.add(rank)
    assert chosen == set(range(k))


def test_class_gaussian_is_a_fresh_sample_of_the_class(latents, reference):
    centre = get_policy("class_gaussian(std=0.0)")
    centre.fit(reference)
    means = torch.stack([reference.z[reference.labels == label].mean(0) for label in range(CLASSES)])
    assert torch.allclose(centre(latents, draws(), reference).z, means[latents.labels], atol=1e-6)
    many = Latents(torch.zeros(4000, SIZE), None, torch.zeros(4000, dtype=torch.int64))
    wide = get_policy("class_gaussian(std=2.0)")
    wide.fit(reference)
    made = wide(many, SampleRandom(sample_keys(0, 0, range(4000))), reference).z
    assert torch.allclose(made.var(0).mean(), 4 * reference.z[reference.labels == 0].var(0).mean(), rtol=0.2)


def test_compose_is_one_after_the_other_in_the_order_of_the_text(latents, reference):
    last, first = (
        get_policy("compose(gaussian(std=1.0), class_gaussian(std=0.0))"),
        get_policy("compose(class_gaussian(std=0.0), gaussian(std=1.0))"),
    )
    centre = get_policy("class_gaussian(std=0.0)")
    for policy in (last, first, centre):
        policy.fit(reference)
    means = centre(latents, draws(), reference).z
    assert torch.equal(last(latents, draws(), reference).z, means)
    moved = first(latents, draws(), reference).z - means
    assert 0.7 < moved.std() < 1.3


def test_one_of_takes_one_for_each_sample_by_its_weights(latents, reference):
    policy = get_policy("one_of(gaussian(std=0.0), class_gaussian(std=0.0), weights=[1, 3])")
    policy.fit(reference)
    made = policy(latents, draws(), reference).z
    centre = get_policy("class_gaussian(std=0.0)")
    centre.fit(reference)
    stays, goes = (made == latents.z).all(1), (made == centre(latents, draws(), reference).z).all(1)
    assert (stays ^ goes).all()
    assert 0.5 < goes.float().mean() < 1


def test_guided_looks_at_so_many_neighbours(latents, reference):
    made = []
    for k in (1, 5):
        policy = get_policy(f"guided(radius=1.0, k={k})")
        policy.fit(reference)
        made.append(policy(latents, draws(), reference).z)
    assert not torch.allclose(*made, atol=1e-3)
