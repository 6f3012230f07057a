"""FID or KID of a small GAN, by seeds."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .._internal.config import AugmentConfig
from .._internal.datasets import dataset_fingerprint, dataset_labels, fetch, num_classes_of
from .._internal.random import fold, seeded
from ..autoencoders import Autoencoder
from ..data import Mixing
from ..exceptions import DataError, InputError
from ..gan import get_augmentation, get_method
from ..gan.trainer import GANTrainer
from ..quality import AutoencoderFeatures, compare, extract
from ..transform import LatentAugment
from .autoencoders import Autoencoders, placeless
from .datasets import Transformed, Until
from .task import Setting, Task, chosen_space

POLICIES = (
    "gaussian(std=0.25)", "gaussian(std=0.5)", "gaussian(std=1.0)", "posterior(factor=1.0)", "posterior(factor=2.0)",
    "smote(k=5)",
)  # fmt: skip
# At most so many real and generated images are compared.
_EVALUATED = 2000
NETWORK = "dcgan(latent_dim=32)"


class GenerationTask(Task):
    """Each cell is a seed: train a GAN, compare its samples with the real images on the autoencoder's latents.

    A setting is a policy and a mode, "both" or "real", as `GANTrainer` takes them. Lower scores are better.
    """

    larger_is_better = False
    search_cells = 4

    def __init__(
        self,
        dataset: Any,
        autoencoders: Autoencoders,
        *,
        score: str,
        geometry: Callable[[Any], Any] | None,
        steps: int,
        batch_size: int,
        space: Mapping[str, Sequence[Any]] | None,
        seed: int,
        device: str,
    ):
        self.name = score
        self.dataset, self.autoencoders, self.geometry = dataset, autoencoders, geometry
        self.steps, self.batch_size, self.seed, self.device = steps, batch_size, seed, device
        self.controls = ("none",) if geometry is None else ("none", "geometric")
        self.opens = autoencoders.train is not None
        if len(dataset) < 20:
            raise DataError(f"measuring a GAN takes at least 20 images, got {len(dataset)}")
        image, label = fetch(dataset, [0])
        self.shape = tuple(image.shape[1:])
        order = np.random.Generator(np.random.Philox(fold(seed, "judged"))).permutation(len(dataset))
        self._real, _ = fetch(dataset, order[:_EVALUATED].tolist())
        self.num_classes = 0 if label is None else num_classes_of(dataset, dataset_labels(dataset)) or 0
        usual = {"policy": autoencoders.usable(POLICIES, image), "mode": ["both", "real"]}
        self.space = chosen_space(usual, space)
        if unknown := set(self.space["mode"]) - set(usual["mode"]):
            raise InputError(f"space gives {sorted(map(str, unknown))} for mode; expected 'both' and 'real'")

    def evaluate(self, setting: Setting, cell: int, deadline: float) -> float:
        data, augment = self.dataset, None
        if setting.get("control") == "geometric":
            assert self.geometry is not None
            data = Transformed(data, self.geometry)
        autoencoder = copy.deepcopy(self.final_autoencoder())
        if "policy" in setting:
            augment = LatentAugment(autoencoder, setting["policy"], p=0.5).to(self.device).fit(self.dataset)
        method = get_method(
            "gan", image_shape=self.shape, num_classes=self.num_classes, network=NETWORK, lr=5e-4,
            augmentation=get_augmentation(setting.get("mode", "none"), augment), seed=fold(self.seed, "gan", cell),
        )  # fmt: skip
        trainer = GANTrainer(
            method, steps=self.steps, batch_size=self.batch_size, round_steps=self.steps,
            seed=fold(self.seed, "cell", cell), device=self.device, progress=False,
        )  # fmt: skip
        with seeded(self.seed, "geometry", cell):  # which a transform draws from torch's global generator
            generator = trainer.fit(Until(data, deadline))
        images = trainer.sample(generator, len(self._real), "evaluation")
        features = AutoencoderFeatures(autoencoder)
        made, real = (extract(features, each, device=self.device) for each in (images, self._real))
        return compare(made, real, seed=self.seed)[self.name]

    def first(self, controls: Mapping[str, float]) -> list[Setting]:
        return [{"policy": "gaussian(std=0.5)", "mode": mode} for mode in ("both", "real")]

    def open(self, deadline: float) -> None:
        self.autoencoders.make("all", self.dataset, deadline)

    def final_autoencoder(self) -> Autoencoder:
        return self.autoencoders.whole(self.dataset)

    def describe(self, setting: Setting) -> str:
        return str(setting["control"]) if "control" in setting else f"{setting['policy']}, {setting['mode']}"

    def config(self, setting: Setting, won: bool) -> dict[str, Any]:
        mixing = Mixing(1.0, 0.0) if won else Mixing(0.0, 0.0)
        known = AugmentConfig(
            policy=setting["policy"], p=0.5 if won else 0.0, mixing=mixing, **self.autoencoders.kept(self.dataset)
        )
        return {**known.document(), "mode": setting["mode"]}

    def settings(self) -> dict[str, Any]:
        return {
            "task": self.name,
            "dataset": dataset_fingerprint(self.dataset),
            "images": len(self.dataset),
            "autoencoder": self.autoencoders.settings(),
            "geometry": placeless(self.geometry),
            "network": NETWORK,
            "steps": self.steps,
            "batch_size": self.batch_size,
            "space": {name: list(values) for name, values in self.space.items()},
        }
