"""What runs on an accelerator does not make the host wait for it.

The meta device has no values: whatever looks at one (`item`, `cpu`, `nonzero`, a boolean index) raises. And no copy to
it may be of the blocking kind. The same on a GPU, where there is one, under CUDA's own debug mode.
"""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, TensorDataset

from augmentor._internal.engine import Engine
from augmentor._internal.random import torch_generator
from augmentor.data import AugmentedLoader, Indexed
from augmentor.gan import get_augmentation, get_method
from augmentor.gan.feed import Feed
from augmentor.gan.methods import methods
from augmentor.latents import LatentCache
from augmentor.policies import list_policies, policies
from augmentor.quality import QualityGate
from augmentor.transform import LatentAugment

ON_CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"))
DEVICES = pytest.mark.parametrize("device", ["meta", ON_CUDA])


class NoBlockingCopies(TorchDispatchMode):
    """Raises on a copy from the host to another device that the host waits for."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.ops.aten._to_copy.default:
            to = torch.device(kwargs.get("device") or args[0].device)
            if args[0].device.type == "cpu" != to.type and args[0].ndim:
                assert kwargs.get("non_blocking"), f"a blocking copy to {to}"
        return func(*args, **kwargs)


@pytest.fixture
def no_waits(device):
    """Run a function where nothing may wait."""

    def run(function):
        if device != "cuda":
            with NoBlockingCopies():
                return function()
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            return function()
        finally:
            torch.cuda.set_sync_debug_mode("default")

    return run


@pytest.fixture
def few(digits):
    return digits.subset(torch.arange(300))


@pytest.fixture
def data(digits) -> TensorDataset:
    return TensorDataset(digits.images[:48], digits.targets[:48])


def test_the_meta_device_notices_whoever_looks():
    values = torch.zeros(3, device="meta")
    for look in (lambda: values[0].item(), lambda: values.cpu(), lambda: values.nonzero(), lambda: values[values > 0]):
        with pytest.raises((RuntimeError, NotImplementedError)):
            look()
    with pytest.raises(AssertionError), NoBlockingCopies():
        torch.zeros(3).to("meta")


@DEVICES
@pytest.mark.parametrize("policy", list_policies())
def test_a_loader_s_batches(policy, device, no_waits, data, few, vae):
    augment = LatentAugment(vae, policies.get(policy).example()).fit(few)
    loader = AugmentedLoader(DataLoader(data, 16), augment, device=device, return_mask=True)
    next(iter(loader))  # moves what was fitted
    batches = no_waits(lambda: list(loader))
    assert [(len(images), images.device.type) for images, *_ in batches] == [(24, device)] * 3


@DEVICES
def test_a_loader_s_batches_through_a_denoiser(device, no_waits, data, few):
    augment = LatentAugment("digits", "denoise('digits-prior', steps=4, guidance=2)").fit(few)
    loader = AugmentedLoader(DataLoader(data, 16), augment, device=device)
    next(iter(loader))  # moves the denoiser
    assert [len(images) for images, _ in no_waits(lambda: list(loader))] == [24] * 3


@DEVICES
def test_a_loader_s_batches_from_a_cache(device, no_waits, data, vae):
    cache = LatentCache(data, vae)
    augment = LatentAugment(vae, precision="fp32+channels_last")
    loader = AugmentedLoader(DataLoader(Indexed(data), 16), augment, device=device, cache=cache)
    next(iter(loader))
    assert [len(images) for images, _ in no_waits(lambda: list(loader))] == [24] * 3


@DEVICES
def test_a_gated_loader_s_batches(device, no_waits, data, few, vae):
    augment = LatentAugment(vae, "gaussian(std=1.0)", gate=QualityGate()).fit(few)
    loader = AugmentedLoader(DataLoader(data, 16), augment, device=device, return_weights=True)
    next(iter(loader))
    assert [len(weights) for *_, weights in no_waits(lambda: list(loader))] == [24] * 3


@DEVICES
@pytest.mark.parametrize(
    ("method", "augmentation"),
    [("gan", "none"), ("gan", "real"),
     *(pytest.param(name, "both", marks=() if name == "gan" else pytest.mark.slow) for name in methods.names())],
)  # fmt: skip
def test_a_gan_s_steps(method, augmentation, device, no_waits, few, vae, monkeypatch):
    kind = methods.get(method)
    trained = get_method(
        method, image_shape=(1, 8, 8), num_classes=10, seed=0,
        network=None if kind.needs_autoencoder else "dcgan(width=8)",
        autoencoder=vae if kind.needs_autoencoder else None,
        augmentation=get_augmentation(augmentation, LatentAugment(vae)) if kind.takes_augmentation else None,
    )  # fmt: skip
    trained.prepare(Feed(few, 16, 0, Engine("cpu"), labelled=True))
    trained.step(0)
    _move(trained, device, monkeypatch)
    trained.step(1)
    logs = no_waits(lambda: trained.step(2))
    assert all(value.device.type == device for value in logs.values())


def _move(trained, device, monkeypatch) -> None:
    """A prepared method and its feed to another device; meta has no generators, so there the host draws."""
    trained.feed.engine = Engine(device)
    for network in trained.networks().values():
        network.to(device)
    for holder in (trained, getattr(trained, "augmentation", None)):
        for name, value in list(vars(holder).items()) if holder is not None else ():
            if isinstance(value, torch.nn.Module):
                value.to(device)
            elif isinstance(value, torch.Tensor):
                setattr(holder, name, value.to(device))
    trained.optimizers = trained.make_optimizers()
    if device == "meta":
        monkeypatch.setattr(Feed, "normal", lambda feed, *where: torch.empty(16, where[-1], device="meta"))
        monkeypatch.setattr(Feed, "generator", lambda feed, *where: torch_generator("cpu", 0))
