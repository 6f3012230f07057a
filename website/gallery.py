"""Pictures of each registered policy, in a plane of latents and on digits."""

from __future__ import annotations

import functools
import inspect
import io

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from sklearn.datasets import make_moons

from augmentor import LatentAugment, list_policies
from augmentor._internal.pictures import grid
from augmentor._internal.random import SampleRandom, sample_keys
from augmentor._internal.registry import describe
from augmentor.data import load_source
from augmentor.latents import Latents, ReferenceSet
from augmentor.policies import LatentPolicy, policies

SAMPLES, DIGITS = 60, 12
COLOURS = ("#4051b5", "#e07b39")


def names() -> list[str]:
    """Return all policies: those without reference samples, those with them, and those made of others."""
    return sorted(list_policies(), key=lambda name: (hasattr(policies.get(name).example(), "policies"),
                                                     policies.get(name).needs_reference, name))  # fmt: skip


def sections() -> str:
    """Return the first paragraph of the documentation and the picture of each policy."""
    texts = []
    for name in names():
        member = policies.get(name)
        paragraph = (inspect.getdoc(member) or "").split("\n\n")[0]
        link = f"[`{member.__name__}`](api/policies.md#augmentor.policies.{member.__name__})"
        texts.append(f"## {name}\n\n{paragraph} ({link})\n\n![What {name} does](gallery/{name}.png)\n")
    return "\n".join(texts)


def picture(name: str) -> bytes:
    """Return a PNG: above, samples of two latents at three strengths; below, digits."""
    strengths = policies.get(name).strengths()
    figure = Figure(figsize=(8.4, 5.6), dpi=100, layout=ConstrainedLayoutEngine(h_pad=0.08))
    planes, digits = figure.subfigures(2, 1, height_ratios=(3, 2.6))
    for axis, policy in zip(planes.subplots(1, 3), strengths, strict=True):
        _draw_plane(axis, policy)
    images, labels = _digits()
    rows = {"original": images}
    for text, policy in zip(("mild", "usual", "strong"), strengths, strict=True):
        rows[text] = _fitted(policy).synthesize(images, labels, indices=np.arange(len(images)), seed=0)[0]
    drawn = grid(list(rows.values())).permute(1, 2, 0).numpy()
    axis = digits.subplots()
    axis.imshow(drawn)
    axis.set_yticks((np.arange(len(rows)) + 0.5) * drawn.shape[0] / len(rows), rows)
    axis.set(xticks=[])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _draw_plane(axis, policy: LatentPolicy) -> None:
    reference = _moons()
    z, labels = reference.z, reference.labels
    policy.fit(reference)
    chosen = torch.tensor([int((z - torch.tensor(at)).norm(dim=1).argmin()) for at in ((-1.2, 0.6), (0.9, -1.1))])
    rows = chosen.repeat_interleave(SAMPLES)
    sources = Latents(z[rows], torch.tensor([0.22, 0.08]).expand(len(rows), 2), labels[rows])
    random = SampleRandom(sample_keys(0, 0, np.repeat(np.arange(2), SAMPLES), np.tile(np.arange(SAMPLES), 2)))
    made = policy(sources, random, reference).z
    for label, colour in enumerate(COLOURS):
        axis.scatter(*z[labels == label].T, s=9, color=colour, alpha=0.3, linewidths=0)
        axis.scatter(*made[sources.labels == label].T, s=9, color=colour, linewidths=0)
    axis.scatter(*z[chosen].T, s=90, marker="*", color="black", edgecolors="white", linewidths=0.8, zorder=3)
    axis.set(xticks=[], yticks=[], xlim=(-2.5, 2.5), ylim=(-2.5, 2.5), aspect="equal")
    text = describe(policy, brief=True)
    axis.set_title(text if len(text) < 40 else text.replace(", ", ",\n", 1), fontsize=8)


@functools.cache
def _moons() -> ReferenceSet:
    """Return two classes of standardised latents (N, 2) on curves, so that straight lines may leave a class."""
    z, labels = make_moons(120, noise=0.1, random_state=0)
    z = (z - z.mean(0)) / z.std(0)
    return ReferenceSet(torch.tensor(z, dtype=torch.float32), torch.tensor(labels), 2)


@functools.cache
def _digits() -> tuple[torch.Tensor, torch.Tensor]:
    data = load_source("digits")
    return data.images[:DIGITS], data.targets[:DIGITS]


@functools.cache
def _fitted_once() -> LatentAugment:
    return LatentAugment("digits", "interpolate").fit(load_source("digits").subset(torch.arange(600)))


def _fitted(policy: LatentPolicy) -> LatentAugment:
    """Return a transform with the policy, fitted to digits."""
    known = _fitted_once()
    augment = LatentAugment("digits", policy)
    augment.reference = known.reference
    policy.fit(known.reference)
    return augment
