"""The rows of the classification benchmark: each makes a training set, and a classifier is trained on it and tested.

All rows of a set take the same network, the same number of steps, and batches of the same size, in which synthetic
samples take the place of real ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from sets import BenchmarkSet, Draw, Tuning
from torch import nn
from torchvision import models
from torchvision.transforms import v2

import augmentor
from augmentor import LatentAugment, MixedDataset, load_autoencoder
from augmentor._internal.datasets import dataset_fingerprint
from augmentor._internal.random import seeded
from augmentor.autoencoders import Autoencoder, autoencoders
from augmentor.data import ArrayDataset, Mixing
from augmentor.training import AutoencoderTrainer, Recipe, mild_geometry, small_cnn, train_classifier
from augmentor.training.classifier import accuracy, macro_recall, predict
from augmentor.tuning import Transformed
from augmentor.tuning.classification import augment_of
from augmentor.tuning.datasets import oversampled

METRICS = {"accuracy": accuracy, "macro_recall": macro_recall}


@dataclass(frozen=True)
class Settings:
    """What decides the work of a set, besides its seed."""

    steps: int = 500
    batch_size: int = 64
    autoencoder_steps: int = 1200
    autoencoder_batch: int = 50
    tune: Tuning = field(default_factory=Tuning)


QUICK = Settings(steps=60, autoencoder_steps=60, tune=Tuning(20, 10, autoencoder_steps=30))


@dataclass(frozen=True)
class Trial:
    """One seed of one set."""

    name: str
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
    def device(self) -> str:
        return "cuda" if torch.cuda.is_available() else "cpu"

    @property
    def network(self) -> Callable[[int, int], nn.Module]:
        """One that the machine can bear."""
        if self.set.network == "pooled":
            return pooled_cnn
        return small_cnn if self.device == "cpu" else resnet18

    def folder(self, what: str, *settings: Any) -> Path:
        """A place in the work folder for something that is made with these settings."""
        key = hashlib.sha256(repr((self.set.own, settings)).encode()).hexdigest()
        return self.work / what / f"{self.seed}-{key[:16]}"

    def geometry(self) -> v2.Transform:
        """The usual one: a mild affine map, after a horizontal flip where that keeps the class."""
        return v2.Compose([v2.RandomHorizontalFlip(), mild_geometry()]) if self.set.flip else mild_geometry()

    def base(self, geometric: bool) -> Any:
        """The labelled images, moved anew at every fetch or not."""
        return Transformed(self.draw.labelled, self.geometry()) if geometric else self.draw.labelled

    def score(self, dataset: Any, mix: Any = None) -> dict[str, Any]:
        """Per cent, after training on a data set."""
        labelled, test = self.draw.labelled, self.draw.test
        model = train_classifier(
            self.network, dataset, num_classes=len(labelled.classes), steps=self.settings.steps,
            batch_size=self.settings.batch_size, mix=mix, seed=self.seed, device=self.device,
        )  # fmt: skip
        return {"score": 100 * METRICS[self.set.metric](predict(model, test, self.device), test.targets)}

    def unlabelled(self, who: str) -> Any:
        """Images without labels, for rows that may use some."""
        return self.draw.unlabelled if who == "unlabelled" else None

    def mixed(self, augment: LatentAugment, who: str, base: Any, **how_many: Any) -> Any:
        """Real and synthetic samples; reference samples are labelled images as they are, and those sure of a label."""
        augment.to(self.device).fit(self.draw.labelled, unlabelled=self.unlabelled(who))
        return MixedDataset(base, augment, seed=self.seed, **how_many)

    def autoencoder(self, who: str) -> Autoencoder:
        """One that saw only the labelled images ("own"), or one that saw all, without labels ("unlabelled")."""
        if who == "own":
            return self.trained(self.draw.labelled, self.settings.autoencoder_steps)
        return load_autoencoder(self.set.unlabelled)

    def trained(self, data: Any, steps: int, precision: str = "auto") -> Autoencoder:
        """One that saw only these images, moved by the usual geometry; kept in the work folder."""
        batch = min(self.settings.autoencoder_batch, len(data))
        with seeded(self.seed, "autoencoder"):
            model = autoencoders.build(self.set.own, image_shape=self.draw.labelled.image_shape)
        trainer = AutoencoderTrainer(
            model,
            out=self.folder("autoencoders", steps, batch, dataset_fingerprint(data)),
            steps=steps,
            batch_size=batch,
            val_fraction=0,
            transform=self.geometry(),
            seed=self.seed,
            device=self.device,
            precision=precision,
            progress=False,
        )
        return trainer.fit(data)


@dataclass(frozen=True)
class OfPart:
    """What `tune` calls for an autoencoder: of all images the row's, of a fold's one with fewer steps, in bfloat16."""

    trial: Trial

    def __call__(self, data: Any) -> Autoencoder:
        settings = self.trial.settings
        if len(data) == len(self.trial.draw.labelled):
            return self.trial.trained(data, settings.autoencoder_steps)
        return self.trial.trained(data, settings.tune.autoencoder_steps, "bf16")


def resnet18(channels: int, num_classes: int) -> nn.Module:
    """He et al. 2016, with the first layer that small images need: 3x3, no stride, no pooling."""
    model = models.resnet18(num_classes=num_classes)
    model.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


# The rows. Each takes the trial and the rows of the same seed that were found before it.
Found = dict[str, Any]
Row = Callable[[Trial, Found], dict[str, Any]]


def none(trial: Trial, found: Found) -> dict[str, Any]:
    return trial.score(trial.base(geometric=False))


def geometric(trial: Trial, found: Found) -> dict[str, Any]:
    return trial.score(trial.base(geometric=True))


def colour_jitter(trial: Trial, found: Found) -> dict[str, Any]:
    """On top of the geometry; `tune` is not told of it, as it is of no use for grey images."""
    jitter = v2.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
    return trial.score(Transformed(trial.draw.labelled, v2.Compose([trial.geometry(), jitter])))


def oversampling(trial: Trial, found: Found, geometric: bool) -> dict[str, Any]:
    """Classes filled up to the largest with their own images again."""
    data = oversampled(trial.draw.labelled)
    return trial.score(Transformed(data, trial.geometry()) if geometric else data)


def mixup(trial: Trial, found: Found) -> dict[str, Any]:
    """Zhang et al. 2018, as torchvision has it."""
    return trial.score(trial.base(geometric=False), v2.MixUp(num_classes=len(trial.draw.labelled.classes)))


def pixel_smote(trial: Trial, found: Found) -> dict[str, Any]:
    """Chawla et al. 2002 on pixels: classes filled up to the largest, or as many synthetic images as real ones."""
    from imblearn.over_sampling import SMOTE  # of the extra "bench"

    data = trial.draw.labelled
    counts = data.targets.bincount()
    wanted = {label: 2 * int(count) for label, count in enumerate(counts)} if trial.draw.balanced else "auto"
    smote = SMOTE(sampling_strategy=wanted, k_neighbors=min(5, int(counts.min()) - 1), random_state=trial.seed)
    pixels, labels = smote.fit_resample(data.images.flatten(1).float().numpy(), data.targets.numpy())
    images = torch.from_numpy(pixels).round().to(torch.uint8).reshape(-1, *data.image_shape)
    return trial.score(ArrayDataset(images, torch.from_numpy(labels), data.classes))


def latent_smote(trial: Trial, found: Found, who: str) -> dict[str, Any]:
    """As DeepSMOTE: classes filled up to the largest with synthetic images, or as many of them as real ones."""
    how_many: dict[str, Any] = {"ratio": 1.0} if trial.draw.balanced else {"sampling_strategy": "auto"}
    augment = LatentAugment(trial.autoencoder(who), "smote(k=5)")
    return trial.score(trial.mixed(augment, who, trial.base(geometric=False), **how_many))


def plain(
    trial: Trial, found: Found, who: str, policy: str, geometric: bool, residual: float = 0.0, then: bool = False
) -> dict[str, Any]:
    """A policy as it comes: a synthetic sample for each real one, after unequal classes are filled up with repeats.

    geometric: latents are those of moved images. then: all images are moved afterwards, synthetic ones too.
    """
    mixing = Mixing(ratio=1.0, balance=1.0)
    augment = LatentAugment(trial.autoencoder(who), policy, residual=residual)
    mixed = trial.mixed(augment, who, trial.base(geometric), sampling_strategy=mixing)
    return trial.score(Transformed(mixed, trial.geometry()) if then else mixed)


def tuned(trial: Trial, found: Found, who: str, bases: tuple[str, ...]) -> dict[str, Any]:
    """What `tune` answers, from the labelled images alone; bases: what latents may be added to, see `tune`.

    Where the answer is "none" the row is the control that `tune` names, which is what a user would then take. What its
    best setting would have given is kept as `setting_score`.
    """
    settings = trial.settings
    source: Any = OfPart(trial) if who == "own" else trial.autoencoder(who)
    result = augmentor.tune(
        trial.draw.labelled,
        source,
        task=trial.set.metric,
        budget=settings.tune.budget,
        out=trial.folder("tune", trial.name, who, bases, settings),
        seed=trial.seed,
        folds=settings.tune.folds,
        network=trial.network,
        steps=settings.tune.steps,
        batch_size=settings.batch_size,
        controls=raced(trial, bases),
        space={"base": bases},
        unlabelled=trial.unlabelled(who),
        device=trial.device,
        progress=False,
    )
    best, control = result.config["setting"], result.config["best_control"]
    augment = augment_of(best, trial.autoencoder(who))
    mixing = Mixing(best["ratio"], best["balance"])
    mixed = trial.mixed(augment, who, trial.draw.labelled, sampling_strategy=mixing)
    score = trial.score(Transformed(mixed, trial.geometry()) if best["base"] == "geometric" else mixed)["score"]
    answered = score if result.answer == "latent" else (found.get(control) or ROWS[control](trial, found))["score"]
    return {"score": answered, "answer": result.answer, "control": control, "setting": best, "setting_score": score,
            "tune": asdict(settings.tune)}  # fmt: skip


def raced(trial: Trial, bases: tuple[str, ...]) -> dict[str, Any]:
    """The controls of a race that has these bases, under the names of their rows."""
    own: dict[str, Any] = {"geometric": trial.geometry()} if "geometric" in bases else {}
    return own | {"mixup": Recipe(batch=v2.MixUp(num_classes=len(trial.draw.labelled.classes)))}


CONTROLS: dict[str, Row] = {
    "none": none,
    "geometric": geometric,
    "geometric + colour jitter": colour_jitter,
    "mixup": mixup,
    "oversampling": partial(oversampling, geometric=False),
    "geometric oversampling": partial(oversampling, geometric=True),
    "pixel SMOTE": pixel_smote,
}
OURS: dict[str, Callable[..., dict[str, Any]]] = {
    "latent SMOTE": latent_smote,
    "gaussian(0.5)": partial(plain, policy="gaussian(std=0.5)", geometric=False),
    "gaussian(0.5) + geometric": partial(plain, policy="gaussian(std=0.5)", geometric=True),
    "gaussian(0.5), then geometric": partial(plain, policy="gaussian(std=0.5)", geometric=False, then=True),
    "class_gaussian + geometric": partial(plain, policy="class_gaussian", geometric=True),
    "gaussian(0.5), residual": partial(plain, policy="gaussian(std=0.5)", geometric=False, residual=1.0),
    "gaussian(0.5), residual + geometric": partial(plain, policy="gaussian(std=0.5)", geometric=True, residual=1.0),
    "class_gaussian, residual + geometric": partial(plain, policy="class_gaussian", geometric=True, residual=1.0),
    "ours tuned": partial(tuned, bases=("none", "geometric")),
    "ours tuned without geometry": partial(tuned, bases=("none",)),
    "ours tuned + geometric": partial(tuned, bases=("geometric",)),
}
ROWS: dict[str, Row] = CONTROLS | {
    f"{name}, {who}": partial(row, who=who) for who in ("own", "unlabelled") for name, row in OURS.items()
}


def rows_of(known: BenchmarkSet) -> tuple[str, ...]:
    """The names of a set's rows."""
    if known.rows is not None:
        return known.rows
    names = [name for name in ROWS if known.unlabelled is not None or not name.endswith(", unlabelled")]
    names = [name for name in names if known.metric == "macro_recall" or "oversampling" not in name]
    names = [name for name in names if known.flip or "colour" not in name]  # photographs are what may be mirrored
    others = "ours tuned," if known.two_races else ("ours tuned without", "ours tuned +")
    return tuple(name for name in names if not name.startswith(others))


def pooled_cnn(channels: int, classes: int) -> nn.Module:
    """`small_cnn` with a global average in place of its 4x4 cells, as residual networks end."""
    *body, linear = small_cnn(channels, classes)
    body[-3] = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(*body, nn.Linear(linear.in_features // 16, classes))


def seconds(known: BenchmarkSet, rows: tuple[str, ...], settings: Settings) -> float:
    """About how long one seed of a set takes on one core."""
    step = 0.012 if known.own.startswith("vae(latent_dim=16") else 0.02
    tuned_rows = sum("tuned" in row for row in rows)
    own = any(row.endswith(", own") for row in rows)
    trainings = len(rows) * settings.steps + own * settings.autoencoder_steps
    return trainings * step + tuned_rows * settings.tune.budget
