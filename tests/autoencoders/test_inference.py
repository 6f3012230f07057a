"""Plans: what they change, what they leave alone, and who may choose one."""

from __future__ import annotations

import copy
import functools
import pickle

import pytest
import torch

from augmentor.autoencoders import Inference, InferencePlan, autoencoders, inference
from augmentor.autoencoders.inference import LEAST_PSNR, psnr
from augmentor.data import MixedDataset
from augmentor.exceptions import AugmentorWarning, InputError, OutputError
from augmentor.latents import LatentCache
from augmentor.quality import QualityGate
from augmentor.shards import ShardDataset, generate_shards
from augmentor.transform import LatentAugment

PLANS = ["fp32", "fp32+channels_last", "bf16", "bf16+channels_last"]


def made_by(vae, images, plan, **settings):
    return LatentAugment(vae, p=1.0, seed=0, precision=plan, **settings)(images)


def test_a_plan_is_a_text_and_others_are_refused(vae):
    for plan in (*PLANS, "bf16+channels_last+compile"):
        assert str(InferencePlan.parse(plan)) == plan
    assert str(Inference(vae, "fp32+channels_last", compile=True).plan) == "fp32+channels_last+compile"
    for text in ("", "fp16", "bf16+", "fp32+compile+channels_last", None):
        with pytest.raises(InputError, match="precision must be 'fp32', 'bf16', 'auto'"):
            LatentAugment(vae, precision=text)


@pytest.mark.parametrize("plan", PLANS[1:])
def test_a_plan_keeps_the_images_within_its_bound_and_lets_gradients_through(plan, vae, digits):
    images = digits.images[:32].float() / 255
    exact, made = made_by(vae, images, "fp32"), made_by(vae, images, plan)
    error = -10 * (exact - made).square().mean().log10()
    assert error > (LEAST_PSNR if plan.startswith("bf16") else 100)
    assert (made.dtype, made.is_contiguous()) == (torch.float32, True)
    assert psnr(vae, InferencePlan.parse(plan)) >= LEAST_PSNR == 45
    made_by(vae, images.requires_grad_(), plan).square().sum().backward()
    assert (images.grad.flatten(1).abs().sum(1) > 0).all()
    assert all(parameter.grad is None for parameter in vae.parameters())


@pytest.mark.parametrize("name", autoencoders.names())
def test_auto_takes_a_plan_that_every_process_then_has(name, monkeypatch):
    augment = LatentAugment(autoencoders.get(name).example(), p=1.0, seed=0, precision="auto")
    assert str(augment.plan) in PLANS
    assert "precision='auto'" in repr(augment)
    monkeypatch.setattr(inference, "fastest_plan", lambda *a, **k: pytest.fail("measured again"))
    for twin in (copy.deepcopy(augment), pickle.loads(pickle.dumps(augment))):
        assert twin.plan == augment.plan


@pytest.mark.parametrize(
    ("cost", "fastest"),
    [
        (lambda plan: 1.0 if plan.precision == "bf16" else 2.0, "bf16"),
        (lambda plan: 0.95 if plan.precision == "bf16" else 1.0, "fp32"),  # not worth being less exact
        (lambda plan: 1.0 if plan.channels_last else 3.0, "fp32+channels_last"),
    ],
)
def test_auto_takes_the_fastest(cost, fastest, vae, monkeypatch):
    now, decode = [0.0], Inference.decode

    def decoded(run, *arguments):
        now[0] += cost(run.plan)
        return decode(run, *arguments)

    monkeypatch.setattr(Inference, "decode", decoded)
    monkeypatch.setattr(inference.time, "perf_counter", lambda: now[0])
    assert str(inference.fastest_plan(vae)) == fastest


def test_bfloat16_that_shows_gives_way_to_float32(vae, monkeypatch):
    monkeypatch.setattr(inference, "LEAST_PSNR", 200.0)
    with pytest.warns(AugmentorWarning, match="below 200; using float32"):
        assert str(LatentAugment(vae, precision="bf16+channels_last").plan) == "fp32+channels_last"
    assert inference.fastest_plan(vae).precision == "fp32"


def test_a_plan_follows_the_weights(vae, digits):
    images = digits.images[:4].float() / 255
    augment = LatentAugment(vae, p=1.0, seed=0, precision="bf16")
    before = augment(images)
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.mul_(1.1)
    assert not torch.equal(augment(images), before)
    torch.testing.assert_close(augment(images), made_by(vae, images, "bf16"))
    assert augment.state_dict().keys() == LatentAugment(vae).state_dict().keys()


def test_latents_that_are_compared_stay_exact(vae, digits):
    """In bfloat16 a sample would not find itself in the reference set, and be its own neighbour."""
    run = Inference(vae)
    known = run.encode(digits.images[:8], exact=True).mean
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(run.encode(digits.images[:8], exact=True).mean, known)
    augment = LatentAugment(vae, "smote(k=1)", p=1.0, seed=0, precision="bf16").fit(digits)
    exact = LatentAugment(vae, "smote(k=1)", p=1.0, seed=0).fit(digits)
    images, labels = digits.images[:64].float() / 255, digits.targets[:64]
    assert (augment(images, labels)[0] - exact(images, labels)[0]).abs().max() < 0.05


@pytest.mark.slow
def test_a_compiled_plan_makes_the_same(vae, digits, monkeypatch):
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    images = digits.images[:4].float() / 255
    compiled = LatentAugment(vae, p=1.0, seed=0, compile=True)
    torch.testing.assert_close(compiled(images), made_by(vae, images, "fp32"))
    assert str(compiled.plan) == "fp32+compile"
    pickle.dumps(compiled)


def test_the_manifest_says_how_it_was_made_and_another_precision_does_not_go_on_with_it(vae, digits, tmp_path):
    folder = generate_shards(digits, LatentAugment(vae, precision="bf16+channels_last"), tmp_path, num_samples=20)
    assert ShardDataset(folder).manifest.precision == "bf16+channels_last"
    with pytest.raises(OutputError, match=r"precision: 'bf16\+channels_last' stored, 'fp32' given"):
        generate_shards(digits, LatentAugment(vae), folder, num_samples=20)


def test_auto_goes_on_with_a_folder_as_it_was_begun(vae, digits, tmp_path, monkeypatch):
    found = iter([InferencePlan("bf16"), InferencePlan("fp32", channels_last=True)])
    monkeypatch.setattr(inference, "fastest_plan", lambda *a, **k: next(found))
    first, second = (LatentAugment(vae, precision="auto") for _ in range(2))
    settings = {"num_samples": 40, "shard_size": 20}
    generate_shards(digits, first, tmp_path / "whole", **settings)
    whole = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    generate_shards(digits, LatentAugment(vae, precision="bf16"), tmp_path / "begun", unit_range=(0, 1), **settings)
    generate_shards(digits, second, tmp_path / "begun", **settings)
    assert {path.name: path.read_bytes() for path in (tmp_path / "begun").iterdir()} == whole
    assert str(second.plan) == "fp32+channels_last"
    with pytest.raises(InputError, match=r"measured by each process.*give one, such as precision="):
        generate_shards(digits, second, tmp_path / "parts", num_samples=20, unit_range=(0, 1))


@pytest.mark.parametrize(("policy", "precision"), [("posterior(factor=2)", "fp32"), ("smote(k=3)", "bf16")])
def test_shards_from_a_cache_are_those_without_encoding(policy, precision, vae, digits, tmp_path):
    few = digits.subset(torch.arange(60))
    cache = LatentCache(few, vae)
    one, other = (LatentAugment(vae, policy, precision=precision) for _ in range(2))
    plain = generate_shards(few, one, tmp_path / "plain", num_samples=90)
    encoded = vae.encoder.register_forward_hook(lambda *a: pytest.fail("encoded"))
    folder = generate_shards(few, other, tmp_path / "cached", num_samples=90, cache=cache)
    encoded.remove()
    one, other = (ShardDataset(path)[:] for path in (plain, folder))
    assert (one[0].int() - other[0].int()).abs().max() <= (1 if precision == "fp32" else 12)
    torch.testing.assert_close(one[1], other[1])
    with pytest.raises(OutputError, match="fitted_sha256"):
        generate_shards(few, LatentAugment(vae, policy, precision=precision), folder, num_samples=90)


@pytest.mark.parametrize("looks", [{}, {"gate": QualityGate()}, {"residual": 0.5}], ids=str)
def test_shards_from_a_cache_read_images_only_where_they_are_looked_at(looks, vae, digits, tmp_path, monkeypatch):
    few, read = digits.subset(torch.arange(60)), []
    cache, fetched = LatentCache(few, vae), type(few).get_batch
    monkeypatch.setattr(type(few), "get_batch", lambda data, rows: read.extend(rows) or fetched(data, rows))
    generate_shards(few, LatentAugment(vae, **looks), tmp_path / "a", num_samples=20, cache=cache)
    once = len(read)
    generate_shards(few, LatentAugment(vae, **looks), tmp_path / "b", num_samples=180, cache=cache)
    assert len(read) - 2 * once == (160 if looks else 0)  # besides what is looked at before the work


def test_mixed_samples_from_a_cache_are_those_without(vae, digits, tmp_path):
    few = digits.subset(torch.arange(40))
    mixed = MixedDataset(few, LatentAugment(vae, "smote(k=3)"), ratio=2.0, seed=0)
    expected = mixed.__getitems__(range(len(mixed)))
    cache = LatentCache(few, vae, tmp_path / "c")
    cached = MixedDataset(few, LatentAugment(vae, "smote(k=3)"), ratio=2.0, seed=0, cache=cache)
    vae.encoder.register_forward_hook(lambda *a: pytest.fail("encoded"))
    for (image, label), (other, other_label) in zip(cached.__getitems__(range(len(cached))), expected, strict=True):
        assert (image.int() - other.int()).abs().max() <= 1
        assert label == other_label
