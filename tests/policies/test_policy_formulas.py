"""What each policy does to a latent is what its docstring and README.md say, number by number."""

from __future__ import annotations

import pytest
import torch

from augmentor import LatentAugment
from augmentor._internal.random import SampleRandom, sample_keys
from augmentor.exceptions import InputError, ReferenceSetError
from augmentor.latents import Latents, ReferenceSet, class_index
from augmentor.policies import get_policy

COUNT, SIZE, CLASSES = 24, 5, 3


def draws(count: int = COUNT) -> SampleRandom:
    return SampleRandom(sample_keys(0, 0, range(count)))


@pytest.fixture
def latents() -> Latents:
    generator = torch.Generator().manual_seed(0)
    z, posterior_std = torch.randn(COUNT, SIZE, generator=generator), 0.1 + torch.rand(COUNT, SIZE, generator=generator)
    return Latents(z, posterior_std, torch.arange(COUNT) % CLASSES)


@pytest.fixture
def reference() -> ReferenceSet:
    labels = torch.arange(90) % CLASSES
    return ReferenceSet(torch.randn(90, SIZE, generator=torch.Generator().manual_seed(1)), labels, CLASSES)


def along(policy: str, latents: Latents, reference: ReferenceSet) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What a policy makes, its reference samples and its weights (B,1), which lie below its strength."""
    chosen = get_policy(policy)
    params = chosen.draw(latents, draws(), reference)
    weight = params["weight"][:, None]
    assert ((weight >= 0) & (weight < chosen.strength)).all()
    assert weight.max() > 0.7 * chosen.strength
    return chosen.apply(latents, params).z, params["target"], weight


def test_gaussian_adds_noise(latents):
    made = get_policy("gaussian(std=0.7)")(latents, draws())
    assert torch.allclose(made.z, latents.z + 0.7 * draws().normal(SIZE))


def test_posterior_is_a_sample_of_the_encoders_posterior(latents, digits, vae):
    made = get_policy("posterior(factor=2.0)")(latents, draws())
    assert torch.allclose(made.z, latents.z + 2 * latents.posterior_std * draws().normal(SIZE))
    images = digits.images[:COUNT]
    made = LatentAugment(vae, "posterior(factor=2.0)").perturb_latents(images, None, draws())
    posterior = vae.encode(images)
    noise = draws().normal(*posterior.mean.shape[1:])
    assert torch.allclose(made.raw, posterior.mean + 2 * posterior.std * noise, atol=1e-4)
    with pytest.raises(InputError, match="vae, spatial_kl"):
        get_policy("posterior")(Latents(latents.z), draws())


@pytest.mark.parametrize(("cells", "shape"), [(1, (3, 1, 1)), (2, (2, 8, 13)), (5, (2, 8, 13))], ids=str)
def test_smooth_noise_has_std_one_at_every_place(cells, shape):
    z = get_policy(f"smooth(std=2, cells={cells})")(Latents(torch.zeros(4000, *shape)), draws(4000)).z
    torch.testing.assert_close(z.std(0), torch.full(shape, 2.0), atol=0.15, rtol=0)
    torch.testing.assert_close(z.mean(0), torch.zeros(shape), atol=0.15, rtol=0)


def test_smooth_noise_moves_neighbours_alike_and_corners_apart_and_a_vector_as_gaussian_does(latents):
    maps = Latents(torch.zeros(2000, 1, 16, 16))
    z = get_policy("smooth(std=1, cells=2)")(maps, draws(2000)).z[:, 0]
    steps, across = (z[:, :, 1:] - z[:, :, :-1]).std(), (z[:, 0, 0] - z[:, -1, -1]).std()
    assert steps < 0.15
    assert 1.3 < across < 1.5  # two independent normals
    even = get_policy("smooth(std=1, cells=1)")(maps, draws(2000)).z
    assert torch.equal(even, even[..., :1, :1].expand_as(even))
    smooth, plain = (get_policy(name)(latents, draws()).z for name in ("smooth(std=0.5)", "gaussian(std=0.5)"))
    assert torch.equal(smooth, plain)


def test_interpolate_goes_towards_a_reference_sample_and_extrapolate_away_from_it(latents, reference):
    made, target, weight = along("interpolate(strength=0.8)", latents, reference)
    assert torch.allclose(made, latents.z + weight * (target - latents.z), atol=1e-6)
    made, target, weight = along("extrapolate(strength=0.8)", latents, reference)
    assert torch.allclose(made, latents.z - weight * (target - latents.z), atol=1e-6)


def test_across_classes_labels_mix_with_the_weight_of_the_latents(latents, reference):
    policy = get_policy("interpolate(same_class=False)")
    params = policy.draw(latents, draws(), reference)
    made, every = policy.apply(latents, params), torch.arange(COUNT)
    classes = reference.random_samples(latents, draws(), same_class=False).labels
    own = torch.where(classes == latents.labels, torch.ones(COUNT), 1 - params["weight"])
    torch.testing.assert_close(made.labels[every, latents.labels], own)
    assert (made.labels[every, classes] > 0).all()


def test_across_classes_the_number_of_classes_is_needed_and_holds(latents):
    with pytest.raises(InputError, match="num_classes="):
        get_policy("interpolate(same_class=False)")(latents, draws())
    with pytest.raises(InputError, match="check num_classes"):
        get_policy("interpolate(same_class=False, num_classes=2)")(latents, draws())


def test_slerp_goes_along_the_sphere(latents, reference):
    made, target, weight = along("slerp(strength=1.0)", latents, reference)
    unit = [v / v.norm(dim=1, keepdim=True) for v in (latents.z, target, made)]
    angle, part = ((a * unit[0]).sum(1).clamp(-1, 1).acos() for a in (unit[1], unit[2]))
    assert torch.allclose(part, weight[:, 0] * angle, atol=1e-3)
    lengths = torch.lerp(latents.z.norm(dim=1), target.norm(dim=1), weight[:, 0])
    assert torch.allclose(made.norm(dim=1), lengths, atol=1e-5)


def test_smote_goes_towards_one_of_the_k_nearest_of_the_class(latents, reference):
    made, target, weight = along("smote(k=4)", latents, reference)
    assert torch.allclose(made, latents.z + weight * (target - latents.z), atol=1e-6)
    chosen = set()
    for z, label, taken in zip(latents.z, class_index(latents.labels), target, strict=True):
        of_class = reference.z[reference.labels == label]
        order = (of_class - z).norm(dim=1).argsort()
        (rank,) = (rank for rank, row in enumerate(order) if torch.equal(of_class[row], taken))
        chosen.add(rank)
    assert chosen == set(range(4))


def test_class_gaussian_has_the_mean_and_covariance_of_the_class():
    labels, mixing = torch.arange(2000) % 2, torch.tensor([[1.0, 0.0], [0.9, 0.3]])
    z = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0)) @ mixing.T + 5 * labels[:, None]
    many = Latents(torch.zeros(4000, 2), None, torch.ones(4000, dtype=torch.int64))
    for std in (0.0, 1.0, 2.0):
        policy = get_policy(f"class_gaussian(std={std})")
        policy.fit(ReferenceSet(z, labels))
        made = policy(many, draws(4000)).z
        torch.testing.assert_close(made.mean(0), z[labels == 1].mean(0), atol=0.1 * std + 1e-5, rtol=0)
        torch.testing.assert_close(made.T.cov(), std**2 * mixing @ mixing.T, atol=0.12 * std**2 + 1e-5, rtol=0)


def test_class_gaussian_errors_say_what_to_do(latents, reference):
    policy = get_policy("class_gaussian")
    policy.fit(reference)
    with pytest.raises(ReferenceSetError, match="pass the samples' labels"):
        policy(Latents(torch.zeros(1, SIZE)), draws(1))
    with pytest.raises(ReferenceSetError, match="too many"):
        policy.fit(ReferenceSet(torch.zeros(4, 8, 32, 32)))


def test_compose_is_one_after_the_other_in_the_order_of_the_text(latents, reference):
    centre, last, first = (
        get_policy(spec)
        for spec in (
            "class_gaussian(std=0.0)",
            "compose(gaussian(std=1.0), class_gaussian(std=0.0))",
            "compose(class_gaussian(std=0.0), gaussian(std=1.0))",
        )
    )
    for policy in (last, first, centre):
        policy.fit(reference)
    means = centre(latents, draws(), reference).z
    assert torch.equal(last(latents, draws(), reference).z, means)
    assert 0.7 < (first(latents, draws(), reference).z - means).std() < 1.3


def test_one_of_takes_one_for_each_sample_by_its_weights():
    z = torch.zeros(4000, 1)
    made = get_policy("one_of(gaussian(std=0), gaussian(std=1), weights=[3, 1])")(Latents(z), draws(4000)).z
    assert abs(float((made != 0).float().mean()) - 0.25) < 0.03


def test_policies_of_policies_are_identities_when_all_their_members_are():
    assert get_policy("compose(gaussian(std=0), slerp(strength=0))").is_identity()
    assert get_policy("one_of(gaussian(std=0), slerp(strength=0))").is_identity()
    assert not get_policy("compose(gaussian(std=0), slerp(strength=0.1))").is_identity()


def test_guided_looks_at_so_many_neighbours(latents, reference):
    made = []
    for k in (1, 5):
        policy = get_policy(f"guided(radius=1.0, k={k})")
        policy.fit(reference)
        made.append(policy(latents, draws(), reference).z)
    assert not torch.allclose(*made, atol=1e-3)
