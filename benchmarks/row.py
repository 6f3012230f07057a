"""A row of the classification benchmark: one way to train."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One way to train.

    recipe: name of the standard augmentation of all images; "" is the first control of the set. policy: policy of the
    latent samples that replace a fraction of the images before the recipe is applied; "" for none. In a policy,
    "own-prior" stands for a prior of the labelled images. autoencoder: "own" (trained on the labelled images only) or
    "pretrained". share: fraction of images that are replaced. residual: as in `LatentAugment`. use: another use of the
    samples (see uses.py). labels: how unlabelled images get labels; "" if they are not used. tuned: whether `tune`
    chooses all of this. steps, batch_size: in place of those of the set.
    """

    recipe: str = ""
    policy: str = ""
    autoencoder: str = ""
    share: float = 0.5
    residual: float = 0.0
    use: str = ""
    labels: str = ""
    tuned: bool = False
    steps: int | None = None
    batch_size: int | None = None

    @property
    def is_control(self) -> bool:
        """Whether the row needs no autoencoder."""
        return not self.tuned and not self.policy and "latents" not in self.labels

    @property
    def name(self) -> str:
        if self.tuned:
            return "the answer of `tune`"
        share = f", {self.share:.0%} of the images" if self.share != Row.share else ""
        how = ", residual" if self.residual else ""
        how += f", {self.use}" if self.use else ""
        parts = [f"labels by {self.labels}"] if self.labels else []
        parts += [f"{self.policy}, {self.autoencoder}{share}{how}"] if self.policy else []
        name = ", then ".join([*parts, self.recipe])
        name += f", batches of {self.batch_size}" if self.batch_size else ""
        return f"{name}, {self.steps} steps" if self.steps else name
