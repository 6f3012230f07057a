"""Inference of the autoencoder of a transform: precision, memory layout and compilation.

The string form of a plan is "fp32" for the unchanged network, or for example "bf16+channels_last" for a copy in
bfloat16 with channels-last memory layout. Results differ between plans in the last bits or by one or two of 255 levels,
so the string is part of `repr` and of the manifests of shards.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .._internal.random import SampleRandom, sample_keys
from ..exceptions import AugmentorWarning, InputError
from ..latents import Posterior
from .base import Autoencoder

# Lowest accepted PSNR of bfloat16 images against float32, in dB; 45 dB is an error of 1.4 of 255 levels.
LEAST_PSNR = 45.0
# A plan that changes results more is preferred only if it is faster by this factor.
_WORTH = 1.1

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_PROBE_IMAGES, _PROBE_SIZE, _PROBE_ROUNDS = 16, 64, 3
# Plans differ more in large batches: images are repeated until they take this long, at most this many times.
_PROBE_SECONDS, _PROBE_REPEATS = 0.05, 16


@dataclass(frozen=True)
class InferencePlan:
    """Precision, memory layout and compilation of an autoencoder.

    precision: "fp32" or "bf16". channels_last: memory layout of images and weights. compile: use `torch.compile`.

    >>> str(InferencePlan.parse("bf16+channels_last"))
    'bf16+channels_last'
    """

    precision: str = "fp32"
    channels_last: bool = False
    compile: bool = False

    @classmethod
    def parse(cls, text: str) -> InferencePlan:
        """Return the plan that this string describes; raise `InputError` for other strings."""
        precision, *words = text.split("+") if isinstance(text, str) else [""]
        plan = cls(precision, "channels_last" in words, "compile" in words)
        if precision not in _DTYPES or str(plan) != text:
            raise InputError(
                "precision must be 'fp32', 'bf16', 'auto', or a string such as 'bf16+channels_last+compile'; "
                f"got {text!r}"
            )
        return plan

    def __str__(self) -> str:
        words = (self.precision, *(word for word in ("channels_last", "compile") if getattr(self, word)))
        return "+".join(words)


_AS_IT_IS = InferencePlan()


class Inference:
    """Inference of an autoencoder with a plan; latents and images are float32 for every plan.

    precision: the string of a plan, or "auto": the fastest plan on the device, found by a short measurement at first
        use. bfloat16 is used only if its PSNR is at least `LEAST_PSNR`.
    compile: add `torch.compile` to the plan.

    If the weights change or the autoencoder is moved, the copy that a plan uses is made again. Pickling keeps the plan
    but not the copy.
    """

    def __init__(self, autoencoder: Autoencoder, precision: str = "fp32", compile: bool = False):
        self.autoencoder = autoencoder
        plan = _AS_IT_IS if precision == "auto" else InferencePlan.parse(precision)
        self._asked = None if precision == "auto" else dataclasses.replace(plan, compile=compile or plan.compile)
        self._compile = compile
        self._found: dict[str, InferencePlan] = {}  # by type of device
        self._copy: _Copy | None = None

    @property
    def measured(self) -> bool:
        """Whether the plan comes from a measurement ("auto"), which can differ between machines and processes."""
        return self._asked is None

    @property
    def plan(self) -> InferencePlan:
        """Plan for the autoencoder's current device."""
        device = self.autoencoder.device.type
        if device not in self._found:
            self._found[device] = self._choose()
        return self._found[device]

    @contextlib.contextmanager
    def using(self, plan: InferencePlan) -> Iterator[None]:
        """Use this plan inside the context, on any device."""
        before = self._asked, self._found
        self._asked, self._found = plan, {self.autoencoder.device.type: plan}
        try:
            yield
        finally:
            self._asked, self._found = before

    def encode(self, images: torch.Tensor, *, exact: bool = False) -> Posterior:
        """Encode images (B,C,H,W) to raw latents, float32. exact: compute in float32, for latents that are compared."""
        plan = self.plan
        network = self.autoencoder if exact and plan.precision != "fp32" else self._network(plan)
        if plan.channels_last and network is not self.autoencoder:
            images = images.contiguous(memory_format=torch.channels_last)
        with in_float32(images.device) if exact else contextlib.nullcontext():
            mean, std = network.encode(images)
        return Posterior(mean.float(), None if std is None else std.float())

    def decode(self, raw: torch.Tensor, size: Sequence[int] | None = None) -> torch.Tensor:
        """Decode raw latents (B, *L) to images (B,C,H,W) in [0, 1], float32 and contiguous."""
        return self._network(self.plan).decode(raw, size).float().contiguous()

    def _network(self, plan: InferencePlan) -> Autoencoder:
        """Return the autoencoder itself, or the copy that the plan needs."""
        if plan == _AS_IT_IS:
            return self.autoencoder
        if self._copy is None or not self._copy.holds(self.autoencoder, plan):
            self._copy = _Copy(self.autoencoder, plan)
        return self._copy.network

    def _choose(self) -> InferencePlan:
        if self._asked is None:
            return fastest_plan(self.autoencoder, compile=self._compile)
        plan = self._asked
        if plan.precision == "bf16" and (found := psnr(self.autoencoder, plan)) < LEAST_PSNR:
            warnings.warn(
                f"autoencoder {self.autoencoder.name!r} decodes in bfloat16 with a PSNR of {found:.1f} dB against "
                f"float32, below {LEAST_PSNR:g}; using float32",
                AugmentorWarning,
                stacklevel=2,
            )
            plan = dataclasses.replace(plan, precision="fp32")
        return plan

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_copy": None}


class _Copy:
    """Copy of an autoencoder in the precision and layout of a plan."""

    def __init__(self, autoencoder: Autoencoder, plan: InferencePlan):
        self._plan, self._device = plan, autoencoder.device
        self._tensors = [*autoencoder.parameters(), *autoencoder.buffers()]
        self._versions = [tensor._version for tensor in self._tensors]
        network = copy.deepcopy(autoencoder).requires_grad_(False).eval().to(_DTYPES[plan.precision])
        if plan.channels_last:
            network = network.to(memory_format=torch.channels_last)
        if plan.compile:  # only the networks: the checks around them depend on values
            network._encode = torch.compile(network._encode)  # type: ignore[method-assign]
            network._decode = torch.compile(network._decode)  # type: ignore[method-assign]
        self.network: Autoencoder = network

    def holds(self, autoencoder: Autoencoder, plan: InferencePlan) -> bool:
        """Return whether the copy is up to date for this plan and autoencoder."""
        versions = [tensor._version for tensor in self._tensors]
        return (self._plan, self._device, self._versions) == (plan, autoencoder.device, versions)


def in_float32(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context that disables autocast, which a surrounding training step may use."""
    if not torch.amp.is_autocast_available(device.type):
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)


def fastest_plan(autoencoder: Autoencoder, *, compile: bool = False) -> InferencePlan:
    """Return the plan that reconstructs fastest on this device, among those with a PSNR of at least `LEAST_PSNR`.

    Plans are timed in turn on one batch; the best time of each counts. A small network takes less than one second.
    """
    convolves = any(isinstance(module, nn.Conv2d) for module in autoencoder.modules())
    plans = [InferencePlan(p, last, compile) for p in _DTYPES for last in ((False, True) if convolves else (False,))]
    images, runs = _typical(autoencoder), {plan: Inference(autoencoder) for plan in plans}
    exact = _reconstructed(Inference(autoencoder), images, _AS_IT_IS)
    near = [plan for plan in plans if _nearness(runs[plan], images, plan, exact) >= LEAST_PSNR]
    repeats = round(_PROBE_SECONDS / _timed(runs[plans[0]], images, plans[0]))
    batch = images.repeat(min(max(1, repeats), _PROBE_REPEATS), 1, 1, 1)
    rounds = [[_timed(runs[plan], batch, plan) for plan in near] for _ in range(_PROBE_ROUNDS)]
    seconds = dict(zip(near, map(min, zip(*rounds, strict=True)), strict=True))
    best = plans[0]
    for plan in seconds:
        if seconds[plan] * _WORTH < seconds[best]:
            best = plan
    return best


def _nearness(run: Inference, images: torch.Tensor, plan: InferencePlan, exact: torch.Tensor) -> float:
    try:
        return _psnr(_reconstructed(run, images, plan), exact)
    except InputError:  # an adapted network that cannot be copied into this precision
        return -math.inf


def _timed(run: Inference, images: torch.Tensor, plan: InferencePlan) -> float:
    began = time.perf_counter()
    _reconstructed(run, images, plan)
    return time.perf_counter() - began


def psnr(autoencoder: Autoencoder, plan: InferencePlan) -> float:
    """Return the PSNR in dB of reconstructions with a plan against those of the unchanged network."""
    images, run = _typical(autoencoder), Inference(autoencoder)
    return _psnr(*(_reconstructed(run, images, each) for each in (plan, _AS_IT_IS)))


def _psnr(made: torch.Tensor, exact: torch.Tensor) -> float:
    error = float((made - exact).square().mean())
    return math.inf if error == 0 else -10 * math.log10(error) if math.isfinite(error) else -math.inf


def _reconstructed(run: Inference, images: torch.Tensor, plan: InferencePlan) -> torch.Tensor:
    with torch.no_grad(), run.using(plan):
        made = run.decode(run.encode(images).mean, (images.shape[-2], images.shape[-1]))
    if made.device.type != "cpu":
        torch.accelerator.synchronize(made.device)
    return made


@torch.no_grad()
def _typical(autoencoder: Autoencoder) -> torch.Tensor:
    """Return decoded images of latents drawn from a standard normal distribution."""
    channels, *size = autoencoder.image_shape
    height, width = (_PROBE_SIZE if side is None else side for side in size)
    random = SampleRandom(sample_keys(0, 0, range(_PROBE_IMAGES)), autoencoder.device)
    shape = autoencoder.encode(random.uniform(channels or 1, height, width)).mean.shape[1:]
    raw = autoencoder.stats.unstandardise(random.normal(*shape))
    return autoencoder.decode(raw, (height, width)).float()
