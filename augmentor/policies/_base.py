"""Base class of policies, which map standardised latents and their labels to standardised latents and labels.

`draw` computes parameters from the random sequence of each sample. `apply` is a pure function of latents and
parameters: applied to a batch, it gives the same result as applied to each row with the parameters of that row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias

import torch

from .._internal.random import SampleRandom
from .._internal.registry import Registry, describe
from ..denoisers import denoisers
from ..exceptions import InputError
from ..latents import Latents, ReferenceSet

policies: Registry[LatentPolicy] = Registry("policy", parts=denoisers)

Params: TypeAlias = dict[str, Any]  # tensors with one row per sample; for combined policies, one dict per policy


class LatentPolicy:
    """Base class of all policies. It is not an `nn.Module`, because `nn.Module.apply` has another meaning.

    A subclass stores the arguments of its constructor under their own names, so that ``str(policy)`` is the string
    that `get_policy` reads. CONTRIBUTING.md shows how to write a policy.

    >>> isinstance(get_policy("gaussian"), LatentPolicy)
    True
    """

    name: ClassVar[str]
    # Whether the policy works with the latents of any autoencoder.
    universal: ClassVar[bool] = True
    needs_reference: bool = False
    # Whether the result depends on labels. Policies with `needs_reference` always use labels.
    needs_labels: bool = False
    # Whether objects keep their positions in the image if latents are feature maps, so that bounding boxes stay valid.
    keeps_geometry: bool = False

    def draw(self, latents: Latents, random: SampleRandom, reference: ReferenceSet | None = None) -> Params:
        """Draw the parameters of each sample. Reference samples are taken from `reference`, or else from the batch."""
        raise NotImplementedError

    def apply(self, latents: Latents, params: Params) -> Latents:
        """Return the changed latents, and labels if they change. `kept` marks samples that could not be changed."""
        raise NotImplementedError

    def __call__(self, latents: Latents, random: SampleRandom, reference: ReferenceSet | None = None) -> Latents:
        """Draw parameters and apply them."""
        return self.apply(latents, self.draw(latents, random, reference))

    def check_autoencoder(self, autoencoder: Any) -> None:
        """Raise `InputError` if the policy does not work with the latents of this autoencoder."""

    def fit(self, reference: ReferenceSet) -> None:
        """Fit the policy to a reference set. Raises `ReferenceSetError` for one that it cannot use."""

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return tensors that change the output and are not in the string form: the weights of networks."""
        return {}

    def models(self) -> list[str]:
        """Return one line per third-party model that the policy uses, with its source, revision and licence."""
        return []

    def soft_classes(self, labels: torch.Tensor, reference: ReferenceSet | None) -> int | None:
        """Return the number of classes K if the policy makes these labels soft (B,K), or None if it keeps them."""
        return None

    def is_identity(self) -> bool:
        """Return whether the policy changes nothing with its settings."""
        return False

    @classmethod
    def example(cls) -> LatentPolicy:
        """Return an instance with usual settings, for tests, benchmarks and documentation."""
        return cls()

    @classmethod
    def strengths(cls) -> tuple[LatentPolicy, LatentPolicy, LatentPolicy]:
        """Return a mild, a usual and a strong instance, for previews."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return describe(self)


def reference_or_batch(latents: Latents, reference: ReferenceSet | None) -> ReferenceSet:
    """Return the fitted reference set, or the batch itself if there is none."""
    return ReferenceSet.of_batch(latents) if reference is None else reference


def check_strength(policy: str, **values: float) -> None:
    """Raise `InputError` unless all values are finite and at least 0."""
    for argument, value in values.items():
        if not (isinstance(value, (int, float)) and math.isfinite(value) and value >= 0):
            raise InputError(f"policy {policy!r} takes a finite {argument} >= 0, got {value!r}")


def check_count(policy: str, **values: int) -> None:
    """Raise `InputError` unless all values are integers of at least 1."""
    for argument, value in values.items():
        if not isinstance(value, int) or value < 1:
            raise InputError(f"policy {policy!r} takes an integer {argument} >= 1, got {value!r}")


def get_policy(spec: str | LatentPolicy, classes: Sequence[str] = ()) -> LatentPolicy:
    """Return the policy that a string such as ``"gaussian(std=0.5)"`` describes; a policy is returned unchanged.

    classes: names of the classes, for a denoiser that takes them and whose string does not contain them. Raises
    `UnknownNameError` for an unknown name, and `InputError` for other invalid input.

    >>> str(get_policy("compose(gaussian(std=0.3), smote(k=3))"))
    'compose(gaussian(std=0.3), smote(k=3, strength=1.0))'
    """
    if isinstance(spec, LatentPolicy):
        return spec
    if not isinstance(spec, str):
        raise InputError(f"expected a policy or a string such as 'gaussian(std=0.5)', got {spec!r}")
    return policies.build(spec, **({"classes": list(classes)} if classes else {}))


def default_policy(latent_shape: Sequence[int | None]) -> LatentPolicy:
    """Return the default policy, for latents that are vectors (D,) or feature maps (C,h,w).

    `benchmarks/defaults.py` compares it with other policies.

    >>> default_policy((16,)), default_policy((8, None, None))
    (gaussian(std=0.5), smooth(std=0.25, cells=2))
    """
    return get_policy("gaussian(std=0.5)" if len(latent_shape) == 1 else "smooth(std=0.25)")


def list_policies() -> list[str]:
    """Return the names of the policies that work with any autoencoder; `denoise` needs one that fits its denoiser.

    >>> "smote" in list_policies(), "denoise" in list_policies()
    (True, False)
    """
    return [name for name in policies.names() if policies.get(name).universal]
