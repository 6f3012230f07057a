"""What a row of the classification benchmark is: one way to train."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One way to train.

    recipe: the usual augmentation of all images, by its name; "" is the first control of the set. policy: latent
    samples in place of a share of the images, made before it, by an autoencoder ("own": it saw nothing but the labelled
    images; "pretrained"). residual: of `LatentAugment`. use: of the samples, other than in place of images in all steps
    (see uses.py). labels: how images without labels get some, "" where they are not used. tuned: `tune` decides all of
    this. steps, batch_size: other than the set's.
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
        """Whether it needs no autoencoder."""
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
