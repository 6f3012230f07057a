"""The contract of a policy, held by every registered member. A new policy is tested by being registered."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch

from augmentor._internal.random import SampleRandom, sample_keys
from augmentor._internal.registry import arguments_of
from augmentor.exceptions import InputError, ReferenceSetError, UnknownNameError
from augmentor.latents import Latents, ReferenceSet
from augmentor.policies import LatentPolicy, get_policy, list_policies, policies

NAMES = list_policies()
SHAPES = {"vector": (5,), "feature map": (2, 3, 4)}
COUNT, CLASSES = 12, 3

# Every member as it states itself, and the ways of using them that change labels or nest.
SPECS = [str(policies.get(name).example()) for name in NAMES] + [
    "interpolate(strength=1.0, same_class=False)",
    "compose(interpolate(same_class=False), gaussian(std=0.1))",
    "one_of(gaussian(std=0.5), interpolate(same_class=False), smote(k=2))",
    "one_of(class_gaussian, compose(gaussian, slerp), weights=[1, 3])",
]


def draws(count: int = COUNT, seed: int = 5) -> SampleRandom:
    return SampleRandom(sample_keys(seed, 0, range(count)))


def some_latents(shape: tuple[int, ...], *, labels: bool = True, soft: bool = False) -> Latents:
    generator = torch.Generator().manual_seed(0)
    numbers = torch.arange(COUNT) % CLASSES
    z = torch.randn(COUNT, *shape, generator=generator) + numbers.reshape(-1, *(1 for _ in shape))
    spread = 0.1 + torch.rand(COUNT, *shape, generator=generator)
    chosen = torch.nn.functional.one_hot(numbers, CLASSES).float() if soft else numbers
    return Latents(z, spread, chosen if labels else None)


def some_reference(shape: tuple[int, ...], *, labels: bool = True) -> ReferenceSet:
    numbers = torch.arange(60) % CLASSES
    z = torch.randn(60, *shape, generator=torch.Generator().manual_seed(1)) + numbers.reshape(-1, *(1 for _ in shape))
    return ReferenceSet(z, numbers if labels else None, CLASSES if labels else None)


def fitted(spec: str, reference: ReferenceSet) -> LatentPolicy:
    policy = get_policy(spec)
    policy.fit(reference)
    return policy


def rows_of(params: Any, rows: slice) -> Any:
    """The parameters of some samples, from those of a batch."""
    if isinstance(params, dict):
        return {name: rows_of(value, rows) for name, value in params.items()}
    return params[rows]


def part(latents: Latents, rows: slice) -> Latents:
    return Latents(
        latents.z[rows], latents.posterior_std[rows], None if latents.labels is None else latents.labels[rows]
    )


def strengths_of(policy: LatentPolicy) -> list[str]:
    return [name for name in arguments_of(policy) if name in ("std", "factor", "strength", "radius")]


def test_the_policies_of_the_foundation_are_registered():
    known = {"gaussian", "posterior", "interpolate", "extrapolate", "slerp", "smote", "class_gaussian"}
    assert known | {"compose", "one_of"} <= set(NAMES)


@pytest.mark.parametrize("spec", SPECS)
def test_the_text_form_reads_back_as_an_equal_policy(spec):
    policy = get_policy(spec)
    again = get_policy(str(policy))
    assert type(again) is type(policy)
    assert str(again) == str(policy)
    latents, reference = some_latents((5,)), some_reference((5,))
    policy.fit(reference)
    again.fit(reference)
    assert torch.equal(policy(latents, draws(), reference).z, again(latents, draws(), reference).z)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_output_has_the_shape_and_type_of_the_input_and_is_finite(spec, shape):
    latents, reference = some_latents(shape), some_reference(shape)
    out = fitted(spec, reference)(latents, draws(), reference)
    assert out.z.shape == latents.z.shape
    assert out.z.dtype == latents.z.dtype
    assert out.z.isfinite().all()
    assert not torch.equal(out.z, latents.z)


@pytest.mark.parametrize("spec", SPECS)
def test_draw_then_apply_is_the_call(spec):
    latents, reference = some_latents((5,)), some_reference((5,))
    policy = fitted(spec, reference)
    whole = policy(latents, draws(), reference)
    params = policy.draw(latents, draws(), reference)
    for _ in range(2):  # applying is pure: the same again
        out = policy.apply(latents, params)
        assert torch.equal(out.z, whole.z)
        assert torch.equal(out.labels, whole.labels)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_applying_to_a_batch_is_applying_to_each_row_with_its_parameters(spec, shape):
    latents, reference = some_latents(shape), some_reference(shape)
    policy = fitted(spec, reference)
    params = policy.draw(latents, draws(), reference)
    together = policy.apply(latents, params)
    for row in range(COUNT):
        rows = slice(row, row + 1)
        rejected = policy.apply(part(latents, rows), rows_of(params, rows))
        torch.testing.assert_close(rejected.z, together.z[rows], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(rejected.labels, together.labels[rows])


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("cuts", [[1] * COUNT, [5, 7], [11, 1]], ids=["ones", "5+7", "11+1"])
def test_a_row_does_not_depend_on_its_batch(spec, cuts):
    latents, reference = some_latents((5,)), some_reference((5,))
    policy = fitted(spec, reference)
    whole = policy(latents, draws(), reference)
    start = 0
    for size in cuts:
        rows = slice(start, start + size)
        random = SampleRandom(sample_keys(5, 0, range(start, start + size)))
        out = policy(part(latents, rows), random, reference)
        torch.testing.assert_close(out.z, whole.z[rows], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(out.labels, whole.labels[rows])
        start += size


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("soft", [False, True], ids=["numbers", "soft"])
def test_labels_are_kept_or_become_soft_rows_that_sum_to_one(spec, soft):
    latents, reference = some_latents((5,), soft=soft), some_reference((5,))
    policy = fitted(spec, reference)
    out = policy(latents, draws(), reference)
    count = policy.soft_classes(latents.labels, reference)
    if count is None:
        assert torch.equal(out.labels, latents.labels)
        assert out.labels.dtype == latents.labels.dtype
    else:
        assert count == CLASSES
        assert out.labels.shape == (COUNT, CLASSES)
        assert out.labels.dtype == torch.float32
        assert (out.labels >= 0).all()
        torch.testing.assert_close(out.labels.sum(1), torch.ones(COUNT))


@pytest.mark.parametrize("spec", SPECS)
def test_unlabelled_latents_work_with_an_unlabelled_pool(spec):
    latents, reference = some_latents((5,), labels=False), some_reference((5,), labels=False)
    out = fitted(spec, reference)(latents, draws(), reference)
    assert out.labels is None
    assert out.z.isfinite().all()


@pytest.mark.parametrize("spec", SPECS)
def test_the_inputs_are_not_modified(spec):
    latents, reference = some_latents((5,)), some_reference((5,))
    z, labels, members = latents.z.clone(), latents.labels.clone(), reference.z.clone()
    fitted(spec, reference)(latents, draws(), reference)
    assert torch.equal(latents.z, z)
    assert torch.equal(latents.labels, labels)
    assert torch.equal(reference.z, members)


@pytest.mark.parametrize("spec", SPECS)
def test_chance_comes_from_the_samples_sequences_alone(spec, global_rng_untouched):
    latents, reference = some_latents((5,)), some_reference((5,))
    policy = fitted(spec, reference)
    first, again, other = (policy(latents, draws(seed=seed), reference).z for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("spec", SPECS)
def test_gradients_reach_the_latents_wherever_the_result_depends_on_them(spec):
    latents, reference = some_latents((5,)), some_reference((5,))
    policy = fitted(spec, reference)
    params = policy.draw(latents, draws(), reference)
    moved = Latents(latents.z + 1, latents.posterior_std, latents.labels)
    depends = (policy.apply(moved, params).z != policy.apply(latents, params).z).flatten(1).any(1)
    z = latents.z.clone().requires_grad_()
    out = policy.apply(Latents(z, latents.posterior_std, latents.labels), params).z
    reached = torch.zeros(COUNT, dtype=torch.bool)
    if out.requires_grad:
        out.square().sum().backward()
        assert z.grad.isfinite().all()
        reached = z.grad.flatten(1).abs().sum(1) > 0
    assert torch.equal(reached, depends)


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_of_strength_zero_says_so_if_and_only_if_it_changes_nothing(name):
    example = policies.get(name).example()
    reference, latents = some_reference((5,)), some_latents((5,))
    variants = [policies.create(name, {**arguments_of(example), argument: 0}) for argument in strengths_of(example)]
    for policy in [example, *variants] if name not in ("compose", "one_of") else [example]:
        policy.fit(reference)
        unchanged = torch.allclose(policy(latents, draws(), reference).z, latents.z, atol=1e-6)
        assert policy.is_identity() == unchanged, str(policy)


def test_policies_of_policies_are_identities_when_all_their_members_are():
    assert get_policy("compose(gaussian(std=0), slerp(strength=0))").is_identity()
    assert get_policy("one_of(gaussian(std=0), slerp(strength=0))").is_identity()
    assert not get_policy("compose(gaussian(std=0), slerp(strength=0.1))").is_identity()


@pytest.mark.parametrize("name", NAMES)
def test_strengths_are_three_different_valid_instances(name):
    instances = policies.get(name).strengths()
    assert len({str(policy) for policy in instances}) == 3
    latents, reference = some_latents((5,)), some_reference((5,))
    for policy in instances:
        assert policy.name == name
        assert not policy.is_identity()
        assert str(get_policy(str(policy))) == str(policy)
        policy.fit(reference)
        assert policy(latents, draws(), reference).z.isfinite().all()


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("class_gaussian",)])
def test_a_stronger_instance_moves_samples_further(name):
    latents, reference = some_latents((5,)), some_reference((5,))
    moved = [
        float((policy(latents, draws(), reference).z - latents.z).square().mean())
        for policy in policies.get(name).strengths()
    ]
    assert moved[0] < moved[1] < moved[2]


@pytest.mark.parametrize("spec", SPECS)
def test_partners_come_from_the_batch_where_there_is_no_pool(spec):
    latents, reference = some_latents((5,)), some_reference((5,))
    policy = fitted(spec.replace("same_class=False", "same_class=False, num_classes=3"), reference)
    out = policy(latents, draws(), None)
    assert out.z.isfinite().all()
    assert not torch.equal(out.z, latents.z)


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_one_without_a_pool_is_refused_only_if_partners_are_needed(name):
    policy = policies.get(name).example()
    one = part(some_latents((5,)), slice(0, 1))
    if policy.needs_reference:
        with pytest.raises(ReferenceSetError, match=r"augment\.fit\(dataset\)"):
            policy(one, draws(1), None)
    else:
        assert policy(one, draws(1), None).z.shape == (1, 5)


@pytest.mark.parametrize("spec", SPECS)
def test_policies_pickle(spec):
    latents, reference = some_latents((5,)), some_reference((5,))
    policy = fitted(spec, reference)
    again = pickle.loads(pickle.dumps(policy))
    assert torch.equal(again(latents, draws(), reference).z, policy(latents, draws(), reference).z)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "strong", None])
def test_strengths_that_are_no_strengths_are_refused(name, value):
    example = policies.get(name).example()
    for argument in strengths_of(example):
        with pytest.raises(InputError, match=rf"'{name}' takes a finite {argument} >= 0, got"):
            policies.create(name, {**arguments_of(example), argument: value})
        if isinstance(value, float) and value == value and value != float("inf"):
            with pytest.raises(InputError, match=f"takes a finite {argument} >= 0"):
                get_policy(f"compose(gaussian, {name}({argument}={value!r}))")


@pytest.mark.parametrize("name", NAMES)
def test_a_misspelt_name_is_answered_with_the_right_one(name):
    with pytest.raises(UnknownNameError, match=f"unknown policy '{name[:-1]}'; did you mean '{name}'"):
        get_policy(name[:-1])


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_argument_is_refused_with_the_known_ones(name):
    with pytest.raises(UnknownNameError, match=f"policy '{name}' has no argument 'zzz'; known: "):
        get_policy(f"{name}(zzz=1)")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("smote(k=0)", "k >= 1"),
        ("smote(k=2.5)", "k >= 1"),
        ("compose()", "at least one"),
        ("one_of()", "at least one"),
        ("one_of(gaussian, smote, weights=[1])", "one finite weight"),
        ("one_of(gaussian, smote, weights=[1, -1])", "one finite weight"),
        ("one_of(gaussian, smote, weights=[0, 0])", "one finite weight"),
        ("one_of(gaussian, smote, weights=[1, 1e999])", "one finite weight"),
        ("interpolate(same_class=False, num_classes=0)", "num_classes"),
        ("interpolate(same_class=False, num_classes=-2)", "num_classes"),
        ("gaussian(0.5", "cannot read policy"),
        ("gaussian; slerp", "cannot read policy"),
        ("", "cannot read policy"),
        ("gaussian(std=open('x'))", "unknown policy"),
        ("gaussian(std=[].append)", "cannot read"),
        ("gaussian(0.5, 0.6)", "too many positional"),
    ],
)
def test_policies_that_make_no_sense_are_refused(spec, said):
    with pytest.raises(InputError, match=said):
        get_policy(spec)


@pytest.mark.parametrize("value", [None, 0.5, ["gaussian"], object()])
def test_what_is_no_policy_is_refused(value):
    with pytest.raises(InputError, match="policy"):
        get_policy(value)


@pytest.mark.parametrize("cells", [1, 2, 5])
@pytest.mark.parametrize("shape", [(3, 1, 1), (2, 8, 13)], ids=str)
def test_smooth_noise_has_deviation_one_at_every_place(cells, shape):
    latents = Latents(torch.zeros(4000, *shape))
    z = get_policy(f"smooth(std=2, cells={cells})")(latents, draws(4000)).z
    torch.testing.assert_close(z.std(0), torch.full(shape, 2.0), atol=0.15, rtol=0)
    torch.testing.assert_close(z.mean(0), torch.zeros(shape), atol=0.15, rtol=0)


def test_smooth_noise_moves_neighbours_alike_and_corners_apart():
    latents = Latents(torch.zeros(2000, 1, 16, 16))
    z = get_policy("smooth(std=1, cells=2)")(latents, draws(2000)).z[:, 0]
    steps, across = (z[:, :, 1:] - z[:, :, :-1]).std(), (z[:, 0, 0] - z[:, -1, -1]).std()
    assert steps < 0.15
    assert 1.3 < across < 1.5  # two independent normals
    even = get_policy("smooth(std=1, cells=1)")(latents, draws(2000)).z
    assert torch.equal(even, even[..., :1, :1].expand_as(even))


def test_smooth_noise_on_a_vector_is_gaussian_noise():
    latents = some_latents((5,))
    smooth, plain = (get_policy(name)(latents, draws()).z for name in ("smooth(std=0.5)", "gaussian(std=0.5)"))
    assert torch.equal(smooth, plain)


@pytest.mark.parametrize("cells", [0, -1, 1.5])
def test_smooth_takes_whole_cells(cells):
    with pytest.raises(InputError, match="cells >= 1"):
        get_policy(f"smooth(cells={cells})")


def test_posterior_refuses_an_encoder_without_a_spread():
    with pytest.raises(InputError, match="vae, spatial_kl"):
        get_policy("posterior")(Latents(torch.zeros(2, 3)), draws(2))


def test_interpolation_across_classes_needs_the_number_of_classes():
    with pytest.raises(InputError, match="num_classes="):
        get_policy("interpolate(same_class=False)")(some_latents((5,)), draws())


def test_a_label_beyond_the_number_of_classes_is_refused():
    with pytest.raises(InputError, match=r"for 2 classes; .* check num_classes"):
        get_policy("interpolate(same_class=False, num_classes=2)")(some_latents((5,)), draws())


def test_labels_mix_with_the_weight_of_the_latents():
    latents, reference = some_latents((5,)), some_reference((5,))
    policy = get_policy("interpolate(same_class=False)")
    params = policy.draw(latents, draws(), reference)
    out = policy.apply(latents, params)
    own = out.labels[torch.arange(COUNT), latents.labels]
    same = params["partner_labels"].argmax(1) == latents.labels
    torch.testing.assert_close(own, torch.where(same, torch.ones(COUNT), 1 - params["weight"]))


def test_one_of_chooses_in_proportion_to_its_weights():
    z = torch.zeros(4000, 1)
    out = get_policy("one_of(gaussian(std=0), gaussian(std=1), weights=[3, 1])")(Latents(z), draws(4000)).z
    assert abs(float((out != 0).float().mean()) - 0.25) < 0.03


def test_class_gaussian_has_the_mean_and_covariance_of_the_class():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(2000) % 2
    mixing = torch.tensor([[1.0, 0.0], [0.9, 0.3]])
    z = torch.randn(2000, 2, generator=generator) @ mixing.T + 5 * labels[:, None]
    policy = get_policy("class_gaussian")
    policy.fit(ReferenceSet(z, labels))
    made = policy(Latents(torch.zeros(4000, 2), None, torch.ones(4000, dtype=torch.int64)), draws(4000)).z
    torch.testing.assert_close(made.mean(0), torch.tensor([5.0, 5.0]), atol=0.1, rtol=0)
    torch.testing.assert_close(made.T.cov(), mixing @ mixing.T, atol=0.12, rtol=0)


def test_class_gaussian_errors_say_what_to_do():
    policy = get_policy("class_gaussian")
    with pytest.raises(ReferenceSetError, match=r"not fitted; call augment\.fit\(dataset\)"):
        policy(some_latents((5,)), draws())
    policy.fit(some_reference((5,)))
    with pytest.raises(ReferenceSetError, match="not fitted on class 7; it knows"):
        policy(Latents(torch.zeros(1, 5), None, torch.tensor([7])), draws(1))
    with pytest.raises(ReferenceSetError, match="pass the samples' labels"):
        policy(Latents(torch.zeros(1, 5)), draws(1))
    with pytest.raises(ReferenceSetError, match="too many"):
        policy.fit(ReferenceSet(torch.zeros(4, 8, 32, 32)))


@pytest.mark.parametrize("spec", ["smote", "interpolate", "slerp", "extrapolate", "class_gaussian"])
def test_a_class_of_one_image_is_refused_when_fitting(spec):
    reference = ReferenceSet(torch.randn(5, 3), torch.tensor([0, 0, 0, 0, 4]))
    with pytest.raises(ReferenceSetError, match=rf"{spec}.* needs 2 samples of each class, and class 4 has 1"):
        get_policy(spec).fit(reference)


def test_mixed_labels_stay_a_distribution():
    with pytest.raises(InputError, match="up to 1"):
        get_policy("interpolate(strength=2, same_class=False)")
