"""The contract of a policy: standard latents => standard latents, labels with them.

Draw, then apply: `draw` turns a sample's own random sequence into parameters, `apply` uses them and is a pure
function. Applying to a batch equals applying to each row with that row's parameters.
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

Params: TypeAlias = dict[str, Any]  # tensors with one row a sample; a policy of policies nests one dict for each


class LatentPolicy:
    """Base of all policies: plain objects, not modules (a module's `apply` means something else).

    A member stores its constructor's arguments under their own names; ``str(policy)`` is then its text form, which
    `get_policy` reads back. CONTRIBUTING.md has a new one in ten lines.

    >>> isinstance(get_policy("gaussian"), LatentPolicy)
    True
    """

    name: ClassVar[str]
    # Whether it works with the latents of any autoencoder.
    universal: ClassVar[bool] = True
    needs_reference: bool = False
    # Whether labels matter to it; always where it needs a reference set.
    needs_labels: bool = False
    # Whether things stay where they are in the image where latents are feature maps, so that its boxes still fit.
    keeps_geometry: bool = False

    def draw(self, latents: Latents, random: SampleRandom, reference: ReferenceSet | None = None) -> Params:
        """Parameters for each sample: random numbers from `random`, reference samples from `reference` or the batch."""
        raise NotImplementedError

    def apply(self, latents: Latents, params: Params) -> Latents:
        """The latents (and labels, if they change) that these parameters make; `kept` where nothing could be made."""
        raise NotImplementedError

    def __call__(self, latents: Latents, random: SampleRandom, reference: ReferenceSet | None = None) -> Latents:
        """Draw, then apply."""
        return self.apply(latents, self.draw(latents, random, reference))

    def check_autoencoder(self, autoencoder: Any) -> None:
        """Raise `InputError` for an autoencoder with whose latents the policy cannot work."""

    def fit(self, reference: ReferenceSet) -> None:
        """Take what the policy needs from a reference set; raise `ReferenceSetError` if it cannot work with that."""

    def tensors(self) -> dict[str, torch.Tensor]:
        """Tensors that decide what the policy makes and that its text does not tell: weights of its networks."""
        return {}

    def models(self) -> list[str]:
        """Models of others that the policy uses, each in one line: where it is from, which revision, its licence."""
        return []

    def soft_classes(self, labels: torch.Tensor, reference: ReferenceSet | None) -> int | None:
        """The number of classes K if the policy turns these labels into soft ones (B,K), or None if it keeps them."""
        return None

    def is_identity(self) -> bool:
        """Whether the settings make the policy do nothing."""
        return False

    @classmethod
    def example(cls) -> LatentPolicy:
        """A usual instance, for tests, benchmarks and documentation."""
        return cls()

    @classmethod
    def strengths(cls) -> tuple[LatentPolicy, LatentPolicy, LatentPolicy]:
        """A mild, a usual and a strong instance, for previews."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return describe(self)


def reference_or_batch(latents: Latents, reference: ReferenceSet | None) -> ReferenceSet:
    """The fitted reference set, or else the batch itself."""
    return ReferenceSet.of_batch(latents) if reference is None else reference


def check_strength(policy: str, **values: float) -> None:
    """Strengths are finite and not negative."""
    for argument, value in values.items():
        if not (isinstance(value, (int, float)) and math.isfinite(value) and value >= 0):
            raise InputError(f"policy {policy!r} takes a finite {argument} >= 0, got {value!r}")


def check_count(policy: str, **values: int) -> None:
    """Counts are whole numbers of at least 1."""
    for argument, value in values.items():
        if not isinstance(value, int) or value < 1:
            raise InputError(f"policy {policy!r} takes a whole number {argument} >= 1, got {value!r}")


def get_policy(spec: str | LatentPolicy, classes: Sequence[str] = ()) -> LatentPolicy:
    """The policy that a text such as ``"gaussian(std=0.5)"`` describes; a policy is returned as it is.

    classes: names of the classes, for a denoiser that takes some and whose text does not give them.

    >>> str(get_policy("compose(gaussian(std=0.3), smote(k=3))"))
    'compose(gaussian(std=0.3), smote(k=3, strength=1.0))'
    """
    if isinstance(spec, LatentPolicy):
        return spec
    if not isinstance(spec, str):
        raise InputError(f"expected a policy or a text such as 'gaussian(std=0.5)', got {spec!r}")
    return policies.build(spec, **({"classes": list(classes)} if classes else {}))


def default_policy(latent_shape: Sequence[int | None]) -> LatentPolicy:
    """What is done where no policy is named, for latents that are vectors (D,) or feature maps (C,h,w).

    `benchmarks/defaults.py` measures why.

    >>> default_policy((16,)), default_policy((8, None, None))
    (gaussian(std=0.5), smooth(std=0.25, cells=2))
    """
    return get_policy("gaussian(std=0.5)" if len(latent_shape) == 1 else "smooth(std=0.25)")


def list_policies() -> list[str]:
    """Names of the policies that work with any autoencoder; `denoise` needs one that fits its denoiser.

    >>> "smote" in list_policies(), "denoise" in list_policies()
    (True, False)
    """
    return [name for name in policies.names() if policies.get(name).universal]
