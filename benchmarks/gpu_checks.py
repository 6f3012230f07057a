"""Checks of the GPU benchmark: results equal those of the CPU, and no operation makes the host wait."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from gpu_place import Found, Place
from torch.utils.data import DataLoader

from augmentor import AugmentedLoader, LatentAugment, generate_shards, list_policies, load_autoencoder
from augmentor._internal.engine import get_engine
from augmentor._internal.random import SampleRandom, sample_keys
from augmentor.autoencoders import ConvVAE, InferencePlan
from augmentor.autoencoders.inference import LEAST_PSNR, psnr
from augmentor.data import Transformed
from augmentor.exceptions import DeviceError
from augmentor.gan import get_method
from augmentor.gan.feed import Feed
from augmentor.policies import policies
from augmentor.quality import QualityGate
from augmentor.shards import ShardDataset
from augmentor.shards.precision import full_precision
from augmentor.training import AutoencoderTrainer, GANTrainer

NEAR = 1e-4  # images in [0, 1], in float32
COUNT = 64


def noise(place: Place, found: Found) -> None:
    """Check that random numbers of a sample are equal to the last bit."""
    keys = sample_keys(0, 0, range(1000))
    for name in ("normal", "uniform"):
        here, there = (getattr(SampleRandom(keys, device), name)(33) for device in ("cpu", place.device))
        equal = torch.equal(here, there.cpu())
        found.check(f"{name}, equal bits", equal, equal)


def policies_on_both(place: Place, found: Found) -> None:
    """Compare every policy in float32 by the largest difference of a pixel."""
    data = place.images(300, (1, 28, 28))
    for name in some_policies(place):
        made = [
            synthetic(LatentAugment("mnist", policies.get(name).example(), seed=0).fit(data), data, device)
            for device in (torch.device("cpu"), place.device)
        ]
        difference = float((made[0] - made[1]).abs().max())
        found.check(f"{name}, largest difference", difference, difference <= NEAR)


def some_policies(place: Place) -> list[str]:
    """Return the names of all policies; with --quick of the first ones."""
    return list_policies()[: place.size(100, 3)]


def synthetic(augment: LatentAugment, data: Any, device: torch.device) -> torch.Tensor:
    """Return samples of the first images of a data set, in float32, on the CPU."""
    images, labels = data.images[:COUNT].to(device).float() / 255, data.targets[:COUNT].to(device)
    with full_precision(device.type), torch.no_grad():
        made, *_ = augment.to(device).synthesize(images, labels, indices=range(COUNT), seed=0)
    return made.cpu()


def plans(place: Place, found: Found) -> None:
    """Measure the PSNR in dB of bfloat16, channels-last and compiled networks against the float32 network."""
    for name in ("mnist",) if place.quick else ("mnist", "natural"):
        model = load_autoencoder(name).to(place.device)
        for text in ("bf16", "fp32+channels_last", "bf16+channels_last", "fp32+compile", "bf16+channels_last+compile"):
            if place.quick and "compile" in text:
                continue
            value, bound = psnr(model, InferencePlan.parse(text)), LEAST_PSNR if "bf16" in text else 60.0
            # "auto" does not use a plan of low PSNR, so a low PSNR of bfloat16 is not a failure.
            found.check(f"{name}, {text}, PSNR in dB", value, value >= bound or "bf16" in text)
        found.figure(f"{name}, plan of 'auto'", str(LatentAugment(model, precision="auto").plan))


def shards_resume(place: Place, found: Found) -> None:
    """Check that shards of two calls have the bytes of those of one, and nearly the pixels of the CPU."""
    data, count = place.images(300, (1, 28, 28)), place.size(4096, 128)
    settings: dict[str, Any] = {"num_samples": count, "shard_size": count // 4, "progress": False}

    def made(device: torch.device, folder: str, *ranges: tuple[int, int] | None) -> Path:
        augment = LatentAugment("mnist", "gaussian(std=0.5)").to(device)
        for units in ranges:
            generate_shards(data, augment, place.folder / folder, unit_range=units, **settings)
        return place.folder / folder

    whole, parts = made(place.device, "whole", None), made(place.device, "parts", (0, 2), None)
    equal = [path.read_bytes() == (parts / path.name).read_bytes() for path in sorted(whole.glob("*.h5"))]
    found.check("equal shards", sum(equal), len(equal) == 4 and all(equal))
    there, here = (ShardDataset(folder)[:][0].int() for folder in (whole, made(torch.device("cpu"), "cpu", None)))
    difference = int((there - here).abs().max())
    found.check("largest difference from the CPU, levels of 255", difference, difference <= 1)


def gan_resume(place: Place, found: Found) -> None:
    """Check that a GAN that was stopped between two rounds ends with the same weights as one without a stop."""
    data, weights = place.images(256, (3, 32, 32)), []
    with deterministic():
        for name, stops in (("whole", [None]), ("stopped", [10, None])):
            for stop in stops:
                method = get_method("gan", network="conv(width=16)", image_shape=(3, 32, 32), num_classes=10, seed=0)
                if stop is not None:
                    method.start_round = partial(interrupt, stop)  # type: ignore[method-assign]
                trainer = GANTrainer(
                    method, steps=20, round_steps=10, batch_size=32, device=place.device, out=place.folder / name,
                    progress=False,
                )  # fmt: skip
                with contextlib.suppress(KeyboardInterrupt):
                    trainer.fit(data)
            weights.append(torch.cat([value.detach().flatten().cpu() for value in method.generator.parameters()]))
    difference = float((weights[0] - weights[1]).abs().max())
    found.check("largest difference of a weight", difference, difference == 0)


def interrupt(at: int, step: int, averaged: Any) -> None:
    """Raise `KeyboardInterrupt` before the round that begins at this step."""
    if step == at:
        raise KeyboardInterrupt


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Use cuDNN's deterministic kernels while the block runs."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before


def streams(place: Place, found: Found) -> None:
    """Check that two concurrent streams give the results of consecutive calls."""
    data = place.images(2 * COUNT, (1, 28, 28))
    augment = LatentAugment("mnist", "gaussian(std=0.5)", seed=0).to(place.device)
    halves = [half.to(place.device).float() / 255 for half in data.images.split(COUNT)]

    def one(half: int) -> torch.Tensor:
        rows = range(half * COUNT, (half + 1) * COUNT)
        return augment.synthesize(halves[half], indices=rows, seed=0)

    with torch.no_grad():
        after_each_other = [one(0), one(1)]
        place.synchronize()
        together = []
        for number in range(len(halves)):
            with torch.cuda.stream(torch.cuda.Stream(place.device)) if place.on_cuda else contextlib.nullcontext():
                together.append(one(number))
        place.synchronize()
    difference = max(float((a - b).abs().max()) for a, b in zip(after_each_other, together, strict=True))
    found.check("largest difference", difference, difference == 0)


def loader(place: Place, found: Found) -> None:
    """Check that `AugmentedLoader` over a loader with workers and pinned memory gives the batches of the CPU."""
    data, batches = place.images(4 * COUNT, (1, 28, 28)), []
    for device in (torch.device("cpu"), place.device):
        augment = LatentAugment("mnist", "gaussian(std=0.5)", seed=0)
        inner = DataLoader(data, COUNT, num_workers=2, pin_memory=device.type == "cuda")
        with full_precision(device.type):
            batches.append([images.float().cpu() for images, _ in AugmentedLoader(inner, augment, device=device)])
    difference = max(float((a - b).abs().max()) for a, b in zip(*batches, strict=True))
    found.check("batches", len(batches[1]), len(batches[0]) == len(batches[1]) == 4)
    # In uint8 batches, values near a rounding boundary may differ by one level.
    found.check("largest difference, levels of 255", difference, difference <= 1)


def workers(place: Place, found: Found) -> None:
    """Check that a transform on an accelerator in a loader worker raises `DeviceError`."""
    augment = LatentAugment("mnist", "gaussian(std=0.5)", p=1.0).to(place.device)
    data = Transformed(place.images(8, (1, 28, 28)), augment)
    try:
        next(iter(DataLoader(data, 4, num_workers=1, multiprocessing_context="spawn")))
    except DeviceError:
        refused = True
    else:
        refused = False
    found.check("refused", refused, refused == place.on_cuda)


def host_waits(place: Place, found: Found) -> None:
    """Check in CUDA's debug mode that policies, a gate, a loader and a GAN step do not make the host wait."""
    data = place.images(300, (1, 28, 28))
    images, labels = (part[:COUNT].to(place.device) for part in (data.images, data.targets))

    def of_policy(policy: Any, gate: QualityGate | None = None) -> Callable[[], Any]:
        augment = LatentAugment("mnist", policy, p=1.0, gate=gate).fit(data).to(place.device)
        return lambda: augment.synthesize(images, labels)

    batch_paths = {f"policy {name}": of_policy(policies.get(name).example()) for name in some_policies(place)}
    batch_paths["gate"] = of_policy("gaussian(std=1.0)", QualityGate())
    transform = LatentAugment("mnist", p=1.0, seed=0).to(place.device)
    batch_paths["transform on a batch"] = lambda: transform(images.float() / 255)
    of_loader = AugmentedLoader(DataLoader(data, COUNT), LatentAugment("mnist"), device=place.device)
    batch_paths["loader"] = lambda: list(of_loader)
    method = get_method("gan", network="conv(width=16)", image_shape=(1, 28, 28), num_classes=10, seed=0)
    method.prepare(Feed(data, COUNT, 0, get_engine(place.device), labelled=True))
    batch_paths["GAN step"] = lambda: method.step(1)
    for name, path in batch_paths.items():
        with torch.no_grad() if name != "GAN step" else contextlib.nullcontext():
            path()  # moves the fitted state to the device
            waited = waits(place, path)
        found.check(f"{name} waits", waited or "no", waited is None)


def waits(place: Place, path: Callable[[], Any]) -> str | None:
    """Return the place where the host waits for the device, or None."""
    if not place.on_cuda:
        path()
        return None
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        path()
    except RuntimeError as error:
        return str(error).splitlines()[0]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return None


def training_an_autoencoder(place: Place, found: Found) -> None:
    """Train an autoencoder on the device, and load it on the CPU."""
    data, model = place.images(256, (1, 28, 28)), ConvVAE((1, 28, 28))
    steps = place.size(200, 20)
    trainer = AutoencoderTrainer(model, out=place.folder / "ae", steps=steps, device=place.device, progress=False)
    trainer.fit(data)
    loaded = load_autoencoder(place.folder / "ae")
    images = data.images[:COUNT].float() / 255
    with torch.no_grad(), full_precision(place.device.type):
        there = model.decode(model.encode(images.to(place.device)).mean).cpu()
        difference = float((there - loaded.decode(loaded.encode(images).mean)).abs().max())
    found.figure("PSNR of held-out images, dB", trainer.psnr_db)
    found.check("largest difference from the CPU", difference, difference <= NEAR)


CHECKS: dict[str, Callable[[Place, Found], None]] = {
    "noise": noise,
    "policies": policies_on_both,
    "plans": plans,
    "shards-resume": shards_resume,
    "gan-resume": gan_resume,
    "streams": streams,
    "loader": loader,
    "workers": workers,
    "host-waits": host_waits,
    "autoencoder-on-device": training_an_autoencoder,
}
