"""Picture with samples of each policy for a few images."""

from __future__ import annotations

import functools
import textwrap
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from .._internal.datasets import class_names_of, fetch, num_classes_of, spread_over_classes
from .._internal.pictures import bands_note, figure_png, grid
from .._internal.progress import progress_bar
from .._internal.random import fold
from .._internal.registry import describe
from ..autoencoders import Autoencoder
from ..exceptions import AugmentorWarning, InputError, ReferenceSetError
from ..latents import encode_all
from ..policies import LatentPolicy, get_policy, list_policies, policies
from ..transform import LatentAugment

# Number of characters of a title that fit above a strip.
_TITLE = 64
# Maximum number of images for reference samples and class statistics.
_REFERENCE = 2000

Strips = list[list[tuple[str, torch.Tensor | str]]]


def preview_png(
    dataset: Any,
    autoencoder: Autoencoder,
    *,
    policies: Sequence[str] | None = None,
    count: int = 7,
    residual: float | str = "auto",
    seed: int = 0,
) -> bytes:
    """Draw originals, reconstructions and synthetic samples as a PNG file.

    dataset: map-style, with items image or `(image, label)`. policies: texts, one strip per policy; None draws every
    policy except `denoise` at three strengths, or the reason why it cannot be used. count: number of originals, spread
    over the classes. residual: as for `LatentAugment`. seed: seed of the selected images and the noise.

    >>> from augmentor.data import load_source
    >>> from augmentor.autoencoders import load_autoencoder
    >>> preview_png(load_source("digits"), load_autoencoder("digits"), policies=["gaussian"])[1:4]
    b'PNG'
    """
    order = np.random.Generator(np.random.Philox(fold(seed, "preview"))).permutation(len(dataset))
    reference = fetch(dataset, order[:_REFERENCE].tolist())
    rows = spread_over_classes(reference[1], len(reference[0]), count)
    images, labels = reference[0][rows], None if reference[1] is None else reference[1][rows]
    with torch.no_grad():
        rebuilt = autoencoder(images.to(autoencoder.device))
    excuse = policies is None  # a policy that was requested by name raises its error
    strips: Strips = [[(f"originals{bands_note(images)}", images), ("reconstructions", rebuilt)]]
    # Encoded once for all policies that need it.
    encoded = functools.cache(lambda: encode_all(autoencoder, [reference], total=len(reference[0])))
    for line in progress_bar(_lines(policies, class_names_of(dataset)), desc="drawing", unit="policy", leave=False):
        augments = [LatentAugment(autoencoder, policy, residual=residual) for policy in line]
        strips.append([(describe(augment.policy, brief=True), _made(augment, encoded, images, labels, seed, excuse))
                       for augment in augments])  # fmt: skip
    return draw(strips)


def _lines(texts: Sequence[str] | None, classes: Sequence[str]) -> list[Sequence[LatentPolicy]]:
    if texts is not None:
        return [[get_policy(text, classes)] for text in texts]
    return [policies.get(name).strengths() for name in list_policies()]


def _made(
    augment: LatentAugment, encoded: Callable[[], Any], images: torch.Tensor, labels: Any, seed: int, excuse: bool
) -> torch.Tensor | str:
    """Return synthetic images, or the reason why the policy cannot be used with this autoencoder and these images."""
    try:
        if augment.needs_fit:
            raw, known = encoded()
            augment.fit_latents(raw.mean, known, num_classes_of(None, known))
        with warnings.catch_warnings(action="ignore" if excuse else None, category=AugmentorWarning):
            made = augment.synthesize(images, labels, indices=np.arange(len(images)), seed=seed)
        return made[0] if isinstance(made, tuple) else made
    except (InputError, ReferenceSetError) as error:
        if not excuse:
            raise
        return str(error).split(";")[0]


def draw(strips: Strips) -> bytes:
    """Draw lines of titled strips as a PNG file; a strip is images (n,C,H,W) or a reason why there are none."""
    from matplotlib.figure import Figure  # 0.5 s to import, needed only here

    strips = [[(textwrap.fill(title, _TITLE), content) for title, content in line] for line in strips]
    columns = max(len(line) for line in strips)
    more = sum(max(title.count("\n") for title, _ in line) for line in strips)
    figure = Figure(figsize=(4.6 * columns, 0.98 * len(strips) + 0.16 * more), dpi=100, layout="constrained")
    axes = figure.subplots(len(strips), columns, squeeze=False)
    for line, row in zip(strips, axes, strict=True):
        for axis in row:
            axis.axis("off")
        for (title, content), axis in zip(line, row, strict=False):
            axis.set_title(title, fontsize=8, family="monospace", pad=2)
            if isinstance(content, str):
                axis.text(0.5, 0.5, content, ha="center", va="center", fontsize=7, wrap=True, transform=axis.transAxes)
            else:
                axis.imshow(grid([content]).permute(1, 2, 0).numpy())
    return figure_png(figure)
