"""The tasks "fid" and "kid" of a small GAN, over several seeds."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Subset

from .._internal.config import AugmentConfig
from .._internal.datasets import dataset_fingerprint, dataset_labels, fetch, num_classes_of
from .._internal.random import fold, seeded
from ..autoencoders import Autoencoder
from ..data import Mixing, Transformed
from ..exceptions import DataError, InputError
from ..gan import get_augmentation, get_method
from ..gan.trainer import GANTrainer
from ..quality import AutoencoderFeatures, compare, extract
from ..training.recipes import Controls, Recipe, background, check_labels, chosen_recipes, usual_recipes
from ..transform import LatentAugment
from .autoencoders import Autoencoders, placeless
from .datasets import Until, class_names
from .estimate import first_usable, seconds_each
from .script import script
from .task import Cost, Setting, Task, chosen_space, in_order

POLICIES = (
    "gaussian(std=0.25)", "gaussian(std=0.5)", "gaussian(std=1.0)", "posterior(factor=1.0)", "posterior(factor=2.0)",
    "smote(k=5)",
)  # fmt: skip
# Largest number of real, and of generated, images that are compared.
_EVALUATED = 2000
# Number of images with which times are estimated.
_FEW = 128
NETWORK = "dcgan(latent_dim=32)"


class GenerationTask(Task):
    """Task in which a cell is a seed: train a GAN, and compare its samples with real images in latent space.

    A setting has a policy and a mode, "both" or "real", the augmentation of the GAN. Lower scores are better.
    """

    larger_is_better = False
    search_cells = 4

    def __init__(
        self,
        dataset: Any,
        autoencoders: Autoencoders,
        *,
        score: str,
        controls: Controls | None,
        steps: int,
        batch_size: int,
        denoiser: str | None = None,
        space: Mapping[str, Sequence[Any]] | None,
        seed: int,
        device: str,
    ):
        self.name = score
        self.dataset, self.autoencoders = dataset, autoencoders
        self.steps, self.batch_size, self.seed, self.device = steps, batch_size, seed, device
        self.opens, self.estimates = autoencoders.train is not None, autoencoders.can_sketch
        if len(dataset) < 20:
            raise DataError(f"evaluation of a GAN needs at least 20 images, got {len(dataset)}")
        image, label = fetch(dataset, [0])
        self.shape = tuple(image.shape[1:])
        order = np.random.Generator(np.random.Philox(fold(seed, "judged"))).permutation(len(dataset))
        self._real, _ = fetch(dataset, order[:_EVALUATED].tolist())
        self.recipes = _recipes(controls, self._real)
        check_labels(self.recipes, unlabelled=False)
        self.controls = tuple(self.recipes)
        self.num_classes = 0 if label is None else num_classes_of(dataset, dataset_labels(dataset)) or 0
        names = [] if label is None else class_names(dataset, dataset_labels(dataset))
        denoising = autoencoders.denoising(denoiser, names)
        usual = {"policy": [*denoising, *autoencoders.usable(POLICIES, image)], "mode": ["both", "real"]}
        self.space = chosen_space(usual, space)
        if unknown := set(self.space["mode"]) - set(usual["mode"]):
            raise InputError(f"space['mode'] contains {sorted(map(str, unknown))}; expected 'both' and 'real'")

    def evaluate(self, setting: Setting, cell: int, deadline: float) -> float:
        autoencoder = copy.deepcopy(self.final_autoencoder())
        augment = self._augment(setting, self.dataset, autoencoder)
        images = self._made(setting, self.dataset, augment, cell, self.steps, len(self._real), deadline)
        return self._judged(images, self._real, autoencoder)

    def estimate(self) -> Cost:
        few, real = Subset(self.dataset, range(min(_FEW, len(self.dataset)))), self._real[:_FEW]
        share = len(self.dataset) / len(few)
        autoencoder, opening = self.autoencoders.sketch(few, len(self.dataset))
        autoencoder = copy.deepcopy(autoencoder)
        judging = seconds_each(lambda times: [self._judged(real, real, autoencoder) for _ in range(times)])
        judging *= len(self._real) / len(real)

        def seconds(setting: Setting) -> float:
            began = time.monotonic()
            augment = self._augment(setting, few, autoencoder)
            fitting = (time.monotonic() - began) * share
            each = seconds_each(lambda steps: self._made(setting, few, augment, 0, steps, 1))
            return fitting + self.steps * each + judging

        control = seconds({"control": self.controls[0]})
        return Cost(control, first_usable(seconds, in_order(self, {})), open=opening)

    def _augment(self, setting: Setting, data: Any, autoencoder: Autoencoder) -> LatentAugment | None:
        if "policy" not in setting:
            return None
        return LatentAugment(autoencoder, setting["policy"], p=0.5).to(self.device).fit(data)

    def _made(
        self, setting: Setting, data: Any, augment: LatentAugment | None, cell: int, steps: int, count: int,
        deadline: float = math.inf,
    ) -> torch.Tensor:  # fmt: skip
        """Train a GAN with a setting and return `count` of its images."""
        image = self.recipes[setting["control"]].image if "control" in setting else None
        data = data if image is None else Transformed(data, image)
        method = get_method(
            "gan", image_shape=self.shape, num_classes=self.num_classes, network=NETWORK, lr=5e-4,
            augmentation=get_augmentation(setting.get("mode", "none"), augment), seed=fold(self.seed, "gan", cell),
        )  # fmt: skip
        trainer = GANTrainer(
            method, steps=steps, batch_size=self.batch_size, round_steps=steps,
            seed=fold(self.seed, "cell", cell), device=self.device, progress=False,
        )  # fmt: skip
        with seeded(self.seed, "geometry", cell):  # for transforms, which use torch's global generator
            generator = trainer.fit(Until(data, deadline))
        return trainer.sample(generator, count, "evaluation")

    def _judged(self, images: torch.Tensor, real: torch.Tensor, autoencoder: Autoencoder) -> float:
        features = AutoencoderFeatures(autoencoder)
        made, expected = (extract(features, each, device=self.device) for each in (images, real))
        return compare(made, expected, seed=self.seed)[self.name]

    def first(self, controls: Mapping[str, float]) -> list[Setting]:
        return [{"policy": "gaussian(std=0.5)", "mode": mode} for mode in ("both", "real")]

    def open(self, deadline: float) -> None:
        self.autoencoders.make("all", self.dataset, deadline)

    def final_autoencoder(self) -> Autoencoder:
        return self.autoencoders.whole(self.dataset)

    def describe(self, setting: Setting) -> str:
        return str(setting["control"]) if "control" in setting else f"{setting['policy']}, {setting['mode']}"

    def code(self, setting: Setting) -> str:
        return script(self.recipes[setting["control"]]) if "control" in setting else ""

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
            "controls": {name: placeless(recipe) for name, recipe in self.recipes.items()},
            "network": NETWORK,
            "steps": self.steps,
            "batch_size": self.batch_size,
            "space": {name: list(values) for name, values in self.space.items()},
        }


def _recipes(controls: Controls | None, images: torch.Tensor) -> dict[str, Recipe]:
    """Return the recipes: "none" first, as the default of a GAN, then the named ones, or else a mild affine map."""
    usual = usual_recipes(images.shape[1:], 1, background(images))
    found = chosen_recipes(("mild affine",) if controls is None else controls, usual)
    if unfit := [name for name, recipe in found.items() if recipe.batch is not None or recipe.balance != "none"]:
        raise InputError(
            f"control {', '.join(unfit)} uses labels, and a GAN is evaluated without labels; remove this control"
        )
    return {"none": found.pop("none"), **found}
