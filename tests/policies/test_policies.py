"""The contract of a policy, held by every registered member. A new policy is tested by being registered."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch

from augmentor._internal.random import SampleRandom, sample_keys
from augmentor._internal.registry import arguments_of
from augmentor.exceptions import InputError, UnknownNameError
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
every_spec = pytest.mark.parametrize("spec", SPECS)
every_name = pytest.mark.parametrize("name", NAMES)
both_shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def draws(count: int = COUNT, seed: int = 5, start: int = 0) -> SampleRandom:
    return SampleRandom(sample_keys(seed, 0, range(start, start + count)))


def some_latents(shape: tuple[int, ...] = (5,), *, labels: bool = True, soft: bool = False) -> Latents:
    generator = torch.Generator().manual_seed(0)
    numbers = torch.arange(COUNT) % CLASSES
    z = torch.randn(COUNT, *shape, generator=generator) + numbers.reshape(-1, *(1 for _ in shape))
    posterior_std = 0.1 + torch.rand(COUNT, *shape, generator=generator)
    chosen = torch.nn.functional.one_hot(numbers, CLASSES).float() if soft else numbers
    return Latents(z, posterior_std, chosen if labels else None)


def some_reference(shape: tuple[int, ...] = (5,), *, labels: bool = True) -> ReferenceSet:
    numbers = torch.arange(60) % CLASSES
    z = torch.randn(60, *shape, generator=torch.Generator().manual_seed(1)) + numbers.reshape(-1, *(1 for _ in shape))
    return ReferenceSet(z, numbers if labels else None, CLASSES if labels else None)


def fitted(spec: str | LatentPolicy, reference: ReferenceSet) -> LatentPolicy:
    policy = get_policy(spec)
    policy.fit(reference)
    return policy


def rows_of(params: Any, rows: slice) -> Any:
    """The parameters of some samples, from those of a batch."""
    if isinstance(params, dict):
        return {name: rows_of(value, rows) for name, value in params.items()}
    return params[rows]


def part(latents: Latents, rows: slice) -> Latents:
    return latents.take(torch.arange(COUNT)[rows])


def strengths_of(policy: LatentPolicy) -> list[str]:
    return [name for name in arguments_of(policy) if name in ("std", "factor", "strength", "radius")]


@every_spec
def test_the_text_form_and_a_pickle_read_back_as_an_equal_policy(spec):
    latents, reference = some_latents(), some_reference()
    policy = fitted(spec, reference)
    expected = policy(latents, draws(), reference).z
    for again in (fitted(str(policy), reference), pickle.loads(pickle.dumps(policy))):
        assert type(again) is type(policy)
        assert str(again) == str(policy)
        assert torch.equal(again(latents, draws(), reference).z, expected)


@every_spec
@both_shapes
def test_output_has_the_shape_and_type_of_the_input_which_is_not_modified(spec, shape):
    latents, reference = some_latents(shape), some_reference(shape)
    out = fitted(spec, reference)(latents, draws(), reference)
    assert out.z.shape == latents.z.shape
    assert out.z.dtype == latents.z.dtype
    assert out.z.isfinite().all()
    assert not torch.equal(out.z, latents.z)
    assert torch.equal(latents.z, some_latents(shape).z)
    assert torch.equal(latents.labels, some_latents(shape).labels)
    assert torch.equal(reference.z, some_reference(shape).z)


@every_spec
@both_shapes
def test_to_apply_is_pure_and_the_same_for_a_batch_and_for_each_row_with_its_parameters(spec, shape):
    latents, reference = some_latents(shape), some_reference(shape)
    policy = fitted(spec, reference)
    whole, params = policy(latents, draws(), reference), policy.draw(latents, draws(), reference)
    for _ in range(2):
        out = policy.apply(latents, params)
        assert torch.equal(out.z, whole.z)
        assert torch.equal(out.labels, whole.labels)
    for row in range(COUNT):
        rows = slice(row, row + 1)
        alone = policy.apply(part(latents, rows), rows_of(params, rows))
        torch.testing.assert_close(alone.z, whole.z[rows], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(alone.labels, whole.labels[rows])


@every_spec
def test_a_row_does_not_depend_on_its_batch(spec):
    latents, reference = some_latents(), some_reference()
    policy = fitted(spec, reference)
    whole = policy(latents, draws(), reference)
    for start, stop in ((0, 1), (1, 5), (5, COUNT)):
        rows = slice(start, stop)
        out = policy(part(latents, rows), draws(stop - start, start=start), reference)
        torch.testing.assert_close(out.z, whole.z[rows], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(out.labels, whole.labels[rows])


@every_spec
def test_labels_are_kept_or_become_soft_rows_that_sum_to_one(spec):
    reference = some_reference()
    policy = fitted(spec, reference)
    for soft in (False, True):
        latents = some_latents(soft=soft)
        out, count = policy(latents, draws(), reference), policy.soft_classes(latents.labels, reference)
        if count is None:
            assert torch.equal(out.labels, latents.labels)
            assert out.labels.dtype == latents.labels.dtype
        else:
            assert count == CLASSES
            assert out.labels.shape == (COUNT, CLASSES)
            assert out.labels.dtype == torch.float32
            assert (out.labels >= 0).all()
            torch.testing.assert_close(out.labels.sum(1), torch.ones(COUNT))


@every_spec
def test_unlabelled_latents_work_with_an_unlabelled_reference_set(spec):
    reference = some_reference(labels=False)
    out = fitted(spec, reference)(some_latents(labels=False), draws(), reference)
    assert out.labels is None
    assert out.z.isfinite().all()


@every_spec
def test_random_numbers_come_from_the_samples_sequences_alone(spec, global_rng_untouched):
    latents, reference = some_latents(), some_reference()
    policy = fitted(spec, reference)
    first, again, other = (policy(latents, draws(seed=seed), reference).z for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@every_spec
def test_gradients_reach_the_latents_wherever_the_result_depends_on_them(spec):
    latents, reference = some_latents(), some_reference()
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


@every_name
def test_a_policy_of_strength_zero_says_so_if_and_only_if_it_changes_nothing(name):
    example = policies.get(name).example()
    reference, latents = some_reference(), some_latents()
    variants = [policies.create(name, {**arguments_of(example), argument: 0}) for argument in strengths_of(example)]
    for policy in [example, *variants]:
        unchanged = torch.allclose(fitted(policy, reference)(latents, draws(), reference).z, latents.z, atol=1e-6)
        assert policy.is_identity() == unchanged, str(policy)


@every_name
def test_strengths_are_three_valid_instances_that_move_samples_further_and_further(name):
    latents, reference = some_latents(), some_reference()
    instances, moved = policies.get(name).strengths(), []
    for policy in instances:
        assert policy.name == name
        assert not policy.is_identity()
        assert str(get_policy(str(policy))) == str(policy)
        moved.append(float((fitted(policy, reference)(latents, draws(), reference).z - latents.z).square().mean()))
    assert len({str(policy) for policy in instances}) == 3
    assert moved[0] < moved[1] < moved[2] or name == "class_gaussian"  # which replaces the latents


@every_spec
def test_reference_samples_come_from_the_batch_where_there_is_no_reference_set(spec):
    latents = some_latents()
    policy = fitted(spec.replace("same_class=False", "same_class=False, num_classes=3"), some_reference())
    out = policy(latents, draws(), None)
    assert out.z.isfinite().all()
    assert not torch.equal(out.z, latents.z)


@every_name
def test_a_sample_without_a_partner_is_kept_and_no_other(name):
    policy = policies.get(name).example()
    one = part(some_latents(), slice(0, 1))
    made = policy(one, draws(1), None)
    if policy.needs_reference and name != "one_of":  # which may choose a policy without
        assert made.kept.tolist() == [True]
    if name not in ("compose", "one_of"):
        assert torch.equal(made.z, one.z) == policy.needs_reference
    latents, reference = some_latents(), some_reference()
    policy.fit(reference)
    assert (made := policy(latents, draws(), reference)).kept is None or not made.kept.any()
    foreign = Latents(latents.z, latents.posterior_std, torch.full((COUNT,), -100))
    made = policy(foreign, draws(), reference)
    if policy.needs_reference and name != "one_of":
        assert made.kept.all()
    assert torch.equal(made.labels, foreign.labels)


@pytest.mark.parametrize("spec", ["smote", "interpolate", "slerp", "extrapolate", "class_gaussian"])
def test_a_fitted_class_of_one_image_is_kept_and_the_others_are_not(spec):
    reference = ReferenceSet(torch.randn(5, 3), torch.tensor([0, 0, 0, 0, 4]))
    policy = get_policy(spec)
    policy.fit(reference)
    real = Latents(reference.z, None, reference.labels)
    made = policy(real, draws(5), reference)
    assert made.kept.tolist() == [False, False, False, False, True]
    assert (made.z == real.z).all(1).tolist() == made.kept.tolist()


@every_name
def test_strengths_that_are_no_strengths_are_refused(name):
    example = policies.get(name).example()
    for argument in strengths_of(example):
        for value in (-0.1, float("nan"), float("inf"), "strong", None):
            with pytest.raises(InputError, match=rf"'{name}' takes a finite {argument} >= 0, got"):
                policies.create(name, {**arguments_of(example), argument: value})


@every_name
def test_misspelt_names_and_arguments_are_answered_with_the_right_ones(name):
    with pytest.raises(UnknownNameError, match=f"unknown policy '{name[:-1]}'; did you mean '{name}'"):
        get_policy(name[:-1])
    with pytest.raises(UnknownNameError, match=f"policy '{name}' has no argument 'zzz'; known: "):
        get_policy(f"{name}(zzz=1)")


@pytest.mark.parametrize(
    "spec",
    ["smote(k=0)", "smote(k=2.5)", "compose()", "one_of()", "one_of(gaussian, smote, weights=[1])",
     "one_of(gaussian, smote, weights=[1, -1])", "one_of(gaussian, smote, weights=[0, 0])",
     "one_of(gaussian, smote, weights=[1, 1e999])", "interpolate(same_class=False, num_classes=0)",
     "interpolate(strength=2, same_class=False)", "smooth(cells=0)", "smooth(cells=1.5)", "guided(steps=0)",
     "guided(steps=2.5)", "guided(k=0)", "compose(gaussian, gaussian(std=-0.1))", "gaussian(0.5", "gaussian; slerp", "",
     "gaussian(std=open('x'))", "gaussian(std=[].append)", "gaussian(0.5, 0.6)", None, 0.5, ["gaussian"]],
)  # fmt: skip
def test_policies_that_make_no_sense_are_refused(spec):
    with pytest.raises(InputError, match="polic"):
        get_policy(spec)
