"""Rows of the classification benchmark: each makes a training set, trains a classifier on it and tests it.

All rows of a set use the same network. Rows of labelled images use the same number of steps, where the first control
stops gaining, and the same batch size; synthetic samples replace real ones in the batch. Rows that use unlabelled
images train longer where their method does. The number of images that each row used is recorded.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import torch
from fixmatch import LABELLED, UNLABELLED, fixmatch
from row import Row
from sets import BenchmarkSet, Draw
from torch import nn
from uses import USES, train_with_samples

import augmentor
from augmentor import LatentAugment, QualityGate, load_autoencoder, pseudo_label
from augmentor._internal.datasets import dataset_fingerprint, dataset_labels
from augmentor._internal.random import seeded
from augmentor._internal.weights import fingerprint
from augmentor.autoencoders import Autoencoder, autoencoders
from augmentor.data import ArrayDataset, MixedDataset, Mixing, Transformed
from augmentor.gan import get_method
from augmentor.training import (
    AutoencoderTrainer,
    GANTrainer,
    Recipe,
    mild_geometry,
    train_classifier,
    train_with_pseudo_labels,
)
from augmentor.training.classifier import accuracy, macro_recall, predict
from augmentor.training.recipes import rebalanced
from augmentor.tuning import oversampled
from augmentor.tuning.classification import augment_of

METRICS = {"accuracy": accuracy, "macro_recall": macro_recall}
# Steps of FixMatch relative to those of the other rows: half, which takes about as long as two rounds of pseudo-labels,
# and twice, which is closer to its plateau.
FIXMATCH_STEPS = (0.5, 2)


LABELS = (
    "latents",
    "PCA",
    "pixels",
    "own predictions",
    "PCA and own predictions",
    "latents and own predictions",
)


@dataclass(frozen=True)
class Settings:
    """Settings of the work of a seed. steps: in place of those of the set."""

    steps: int | None = None
    autoencoder_steps: int = 1200
    autoencoder_batch: int = 50
    tune_budget: float = 600
    tune_steps: int = 300


QUICK = Settings(steps=60, autoencoder_steps=60, tune_budget=20, tune_steps=10)

Trained: TypeAlias = "tuple[nn.Module, dict[str, Any]]"


@dataclass(frozen=True)
class Trial:
    """One seed of one set."""

    set: BenchmarkSet
    seed: int
    root: str
    work: Path
    settings: Settings

    @cached_property
    def draw(self) -> Draw:
        """The images."""
        return self.set.draw(self.root, self.seed)

    @cached_property
    def recipes(self) -> dict[str, Recipe]:
        """The standard augmentations of the set by name."""
        labelled = self.draw.labelled
        usual = self.set.recipes(labelled.image_shape, len(labelled.classes))
        equal = len(labelled.targets.bincount().unique()) == 1
        return usual if equal else usual | rebalanced(usual, self.set.metric)

    def run(self, row: Row) -> dict[str, Any]:
        """Return the score in %, the number of images used, and other results of the row."""
        more: dict[str, Any] = {}
        if row.tuned:
            model, more = self.tuned()
        elif row.labels:
            model, more = self.labelled_by(row)
        elif row.use:
            model, more = self.with_samples(row)
        else:
            model, more = self.supervised(row, self.with_latents(row, self.draw.labelled))
        test = self.draw.test
        return {"score": 100 * METRICS[self.set.metric](predict(model, test), test.targets), **more}

    def with_latents(self, row: Row, data: Any) -> Any:
        """Replace a fraction of the images by latent samples if the row has a policy."""
        if not row.policy:
            return data
        augment = LatentAugment(self.autoencoder(row.autoencoder), self.policy(row), residual=row.residual)
        augment.fit(data)
        filled = oversampled(data) if self.recipes[row.recipe].balance == "oversampling" else data
        return MixedDataset(filled, augment, ratio=row.share / (1 - row.share), seed=self.seed)

    def with_samples(self, row: Row) -> Trained:
        """Train on labelled images and latent samples with another use of the samples (see uses.py)."""
        data, transform = self.draw.labelled, self.recipes[row.recipe].image
        gate = QualityGate(action="weigh") if row.use == "weights" else None
        augment = LatentAugment(self.autoencoder(row.autoencoder), self.policy(row), residual=row.residual, gate=gate)
        augment.fit(data)
        training = self.training(row)
        model = train_with_samples(self.set.network, data, augment, row.use, transform=transform, **training)
        return model, {"images": training["steps"] * training["batch_size"]}

    def supervised(self, row: Row, data: Any) -> Trained:
        """Train on labelled images."""
        recipe, classes = self.recipes[row.recipe], len(self.draw.labelled.classes)
        prior = None
        if recipe.balance == "oversampling" and not isinstance(data, MixedDataset):
            data = oversampled(data)
        elif recipe.balance == "logit adjustment":
            prior = dataset_labels(data).bincount(minlength=classes) / len(data)
        data = Transformed(data, recipe.image) if recipe.image else data
        training = self.training(row)
        model = train_classifier(
            self.set.network, data, num_classes=classes, mix=recipe.batch, prior=prior, **training
        )  # fmt: skip
        return model, {"images": training["steps"] * training["batch_size"]}

    def labelled_by(self, row: Row) -> Trained:
        """Train on labelled and unlabelled images."""
        draw, transform, training = self.draw, self.recipes[row.recipe].image, self.training(row)
        assert draw.unlabelled is not None
        *kind, learner = row.labels.split(" and ")
        encoder = self.encoder(kind[0]) if kind else None
        if learner == "FixMatch":
            training.pop("batch_size")
            known = pseudo_label(draw.labelled, draw.unlabelled, encoder, min_accuracy=0) if kind else draw.labelled
            model = fixmatch(self.set.network, known, draw.unlabelled, strong=transform, **training)
            return model, {"images": training["steps"] * (LABELLED + 2 * UNLABELLED)}
        if learner == "own predictions":
            model, data = train_with_pseudo_labels(
                self.set.network, draw.labelled, draw.unlabelled, encoder, transform=transform, min_accuracy=0,
                **training,
            )  # fmt: skip
            found = {"images": 3 * training["steps"] * training["batch_size"]}
            if row.policy:  # train again, on the images that have a label now and on latent samples of them
                model, more = self.supervised(row, self.with_latents(row, data))
                found["images"] += more["images"]
        else:
            data = pseudo_label(draw.labelled, draw.unlabelled, self.encoder(learner), min_accuracy=0)
            model, found = self.supervised(row, self.with_latents(row, data))
        truth = draw.unlabelled.targets[data.rows]
        right = (data.targets[len(draw.labelled) :] == truth).double()
        if len(right):
            found["labels_right"] = float(right.mean())
        return model, {**found, "labels_given": len(right)}

    def encoder(self, name: str) -> Any:
        """Return the encoder that makes vectors of images for label spreading."""
        if name == "latents":
            return self.set.pretrained
        if name == "pixels":
            return lambda images: images.flatten(1)
        from sklearn.decomposition import PCA

        assert self.draw.unlabelled is not None
        pixels = torch.cat([self.draw.labelled.images, self.draw.unlabelled.images]).flatten(1).float() / 255
        components = PCA(min(50, pixels.shape[1] // 4), random_state=0).fit(pixels.numpy())
        return lambda images: torch.from_numpy(components.transform(images.flatten(1).numpy()))

    def training(self, row: Row) -> dict[str, Any]:
        """Return the arguments of all trainings."""
        steps = row.steps or self.settings.steps or self.set.steps
        batch_size = row.batch_size or self.set.batch_size
        return {"steps": steps, "batch_size": batch_size, "lr": self.set.lr, "seed": self.seed}

    def tuned(self) -> Trained:
        """Run `tune` on the labelled images, and train its answer with the steps of the other rows."""
        result = augmentor.tune(
            self.draw.labelled,
            OfPart(self),
            task=self.set.metric,
            budget=self.settings.tune_budget,
            out=self.folder("tune", self.settings.tune_budget, self.settings.tune_steps),
            seed=self.seed,
            network=self.set.network,
            steps=self.settings.tune_steps,
            batch_size=self.set.batch_size,
            progress=False,
        )
        setting, row = result.config["setting"], Row(result.config["best_control"])
        answer, data = row.name, self.draw.labelled
        if result.answer == "latent":
            row = Row(setting["base"])
            augment = augment_of(setting, self.autoencoder("own")).fit(data)
            mixing = Mixing(setting["ratio"], setting["balance"])
            answer, data = repr(setting), MixedDataset(data, augment, sampling_strategy=mixing, seed=self.seed)
        model, found = self.supervised(row, data)
        return model, {**found, "answer": answer, "setting": setting, "reason": result.config["reason"]}

    def autoencoder(self, who: str) -> Autoencoder:
        """Return the autoencoder of the labelled images ("own") or that of all images ("pretrained")."""
        if who == "own":
            return self.trained(self.draw.labelled, self.settings.autoencoder_steps)
        assert self.set.pretrained is not None
        return load_autoencoder(self.set.pretrained)

    def policy(self, row: Row) -> str:
        """Return the policy of a row, with the path of a trained prior in place of "own-prior"."""
        if "own-prior" not in row.policy:
            return row.policy
        return row.policy.replace("own-prior", str(self.prior(row.autoencoder)))

    def prior(self, who: str) -> Path:
        """Train a conditional flow on the latents of the labelled images, until the held-out loss stops decreasing."""
        data, autoencoder = self.draw.labelled, self.autoencoder(who)
        out = self.folder("priors", fingerprint(autoencoder.state_dict()), dataset_fingerprint(data))
        method = get_method(
            "flow", autoencoder=autoencoder, image_shape=data.image_shape, num_classes=len(data.classes), seed=self.seed
        )
        trainer = GANTrainer(
            method, steps=20_000, batch_size=64, round_steps=min(250, self.settings.autoencoder_steps),
            best_by="held_out_loss", patience=3, out=out, seed=self.seed, progress=False,
        )  # fmt: skip
        trainer.fit(data)
        return out

    def trained(self, data: ArrayDataset, steps: int) -> Autoencoder:
        """Train an autoencoder on these images only, with mild geometry for pictures; keep it in the work folder."""
        batch = min(self.settings.autoencoder_batch, len(data))
        with seeded(self.seed, "autoencoder"):
            model = autoencoders.build(self.set.own, image_shape=data.image_shape)
        moved = mild_geometry() if self.set.of_pictures else None
        out = self.folder("autoencoders", steps, batch, dataset_fingerprint(data))
        trainer = AutoencoderTrainer(
            model, out=out, steps=steps, batch_size=batch, val_fraction=0, transform=moved, seed=self.seed,
            progress=False,
        )  # fmt: skip
        return trainer.fit(data)

    def folder(self, what: str, *settings: Any) -> Path:
        """Return a path in the work folder that depends on these settings."""
        key = hashlib.sha256(repr((self.set.own, self.set.steps, settings)).encode()).hexdigest()
        return self.work / what / f"{self.seed}-{key[:16]}"


@dataclass(frozen=True)
class OfPart:
    """Autoencoder for `tune`: that of the row for all images, one with a quarter of its steps for a fold."""

    trial: Trial

    def __call__(self, data: Any) -> Autoencoder:
        steps = self.trial.settings.autoencoder_steps
        return self.trial.trained(data, steps if len(data) == len(self.trial.draw.labelled) else steps // 4)


def searched(known: BenchmarkSet, trial: Trial) -> dict[str, Row]:
    """Return the rows that `--search` tries on draws that are not reported."""
    control = (known.controls or tuple(trial.recipes))[0]
    tried = [Row(control, policy, who) for who in ("own", "pretrained") for policy in known.searched]
    for row in [replace(row, recipe=control) for row in known.latents]:
        tried += [row, *(replace(row, share=share) for share in (0.25, 0.75))]
        tried += [replace(row, residual=1.0 - row.residual)]
        tried += [replace(row, use=use) for use in USES if known.of_pictures]  # these take no transform of batches
    rows = [Row(control)]
    if known.pseudo_labels:
        both = Row(control, labels="latents and own predictions")
        longer = replace(both, steps=round(FIXMATCH_STEPS[-1] * known.steps))
        rows += [both, *(replace(longer, labels=labels) for labels in ("FixMatch", "latents and FixMatch"))]
        on_top = ("gaussian(std=0.7)", "class_gaussian")
        tried += [replace(both, policy=policy, autoencoder="pretrained") for policy in on_top]
    rows += [*(row for row in tried if row.autoencoder == "own" or known.pretrained)]
    rows += [replace(row, recipe=control) for row in known.also_searched]
    return {row.name: row for row in rows}


def rows_of(known: BenchmarkSet, trial: Trial) -> dict[str, Row]:
    """Return the rows of a set by name."""
    controls = known.controls or tuple(trial.recipes)
    rows = [Row(recipe) for recipe in controls]
    rows += [replace(row, recipe=row.recipe or controls[0]) for row in (*known.latents, *known.found)]
    rows += [Row(controls[0], labels=labels) for labels in LABELS if known.pseudo_labels]
    steps = [round(share * known.steps) for share in FIXMATCH_STEPS if known.pseudo_labels]
    rows += [Row(controls[0], labels="FixMatch", steps=count) for count in steps]
    rows += [Row(tuned=True)] if known.tuned else []
    return {row.name: row for row in rows}
