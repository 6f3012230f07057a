"""The tasks "accuracy" and "macro_recall" of a classifier, by repeated stratified cross-validation."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn

from .._internal.config import AugmentConfig
from .._internal.datasets import dataset_fingerprint, dataset_labels, fetch
from .._internal.random import fold, seeded
from ..autoencoders import Autoencoder
from ..data import MixedDataset, Mixing, Transformed, pseudo_label
from ..exceptions import DataError, InputError, PseudoLabelError, ShapeError
from ..latents import ReferenceSet
from ..quality import QualityGate
from ..training.classifier import Network, accuracy, macro_recall, predict, train_classifier
from ..training.pseudo_labels import train_with_pseudo_labels
from ..training.recipes import (
    Controls,
    Recipe,
    background,
    check_labels,
    chosen_recipes,
    pseudo_labelled,
    rebalanced,
    usual_recipes,
)
from ..transform import LatentAugment
from .autoencoders import Autoencoders, named, placeless
from .datasets import Until, class_names, oversampled, part, thinned
from .estimate import first_usable, seconds_each
from .script import script, script_with_pseudo_labels
from .task import Cost, Score, Setting, Task, chosen_space, in_order

# An autoencoder, and the reference set of the training part of a cell.
Fitted: TypeAlias = tuple[Autoencoder, ReferenceSet]

SCORES = {"accuracy": accuracy, "macro_recall": macro_recall}

POLICIES = (
    "gaussian(std=0.25)", "gaussian(std=0.5)", "gaussian(std=1.0)", "gaussian(std=1.5)",
    "smooth(std=0.25)", "smooth(std=0.5)", "smooth(std=1.0)",
    "posterior(factor=1.0)", "posterior(factor=2.0)",
    "interpolate(strength=0.5)", "extrapolate(strength=0.5)", "slerp(strength=0.5)", "smote(k=5)", "class_gaussian",
    "compose(smote(k=5), gaussian(std=0.5))", "compose(interpolate(strength=1.0), gaussian(std=0.5))", "guided",
)  # fmt: skip
RESIDUALS = (0.0, 1.0)
RATIOS = (0.5, 1.0, 2.0, 4.0)
BALANCES = (0.0, 0.5, 1.0)

# Number of images with which times are estimated.
_FEW = 128

# The first settings of the search, the best ones of our trials first, because the time can be short.
FIRST = (
    "smooth(std=0.5)",  # on feature maps only
    "class_gaussian",
    "gaussian(std=1.0)",
    "compose(interpolate(strength=1.0), gaussian(std=0.5))",
    "gaussian(std=0.5)",
    "guided",
)


class ClassificationTask(Task):
    """Task in which a cell is a fold: train on the other folds, score on it. Every repeat uses a new split.

    A setting has a policy, a `residual`, a `ratio` of synthetic to real samples, a `balance` that oversamples small
    classes, a gate or none, and a base: the control that then augments all images, including synthetic ones.
    controls: as in `tune`.
    """

    def __init__(
        self,
        dataset: Any,
        autoencoders: Autoencoders,
        *,
        score: str,
        controls: Controls | None,
        network: Network,
        steps: int,
        batch_size: int,
        folds: int,
        unlabelled: Any = None,
        denoiser: str | None = None,
        space: Mapping[str, Sequence[Any]] | None,
        seed: int,
        device: str,
    ):
        self.name = score
        self.dataset, self.autoencoders, self.network = dataset, autoencoders, network
        self.steps, self.batch_size, self.folds, self.seed, self.device = steps, batch_size, folds, seed, device
        self.unlabelled = unlabelled
        self.labels = dataset_labels(dataset)
        self.classes = _checked_classes(dataset, self.labels, folds)
        self.search_cells = 2 * folds
        sizes = self.labels.bincount()
        self.unequal = len(sizes[sizes > 0].unique()) > 1
        some = fetch(dataset, range(0, len(dataset), max(1, len(dataset) // _FEW)))[0]
        usual = usual_recipes(some.shape[1:], len(self.classes), background(some))
        offered = rebalanced(usual, score) if self.unequal else usual
        if unlabelled is not None:
            _check_same_shape(unlabelled, dataset)
            # A control that the user names is not checked.
            with_encoder = autoencoders.train is None and (controls is not None or self._are_right())
            (first, default), *others = offered.items()
            offered = {first: default, **pseudo_labelled(usual, with_encoder), **dict(others)}
        self.recipes = offered if controls is None else chosen_recipes(controls, usual | offered)
        self.controls = tuple(self.recipes)
        self.weights = (1 / sizes[self.labels]).tolist() if score == "macro_recall" else None  # equal weight per class
        self.estimates = autoencoders.can_sketch
        self.prepares = autoencoders.train is not None or unlabelled is not None
        check_labels(self.recipes, unlabelled is not None)
        self.denoising = autoencoders.denoising(denoiser, self.classes)
        self.space = _checked_space(self._space(), space)
        self._splits: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
        self._fitted: dict[int, Fitted] = {}

    def evaluate(self, setting: Setting, cell: int, deadline: float) -> Score:
        train, test = self._parts(cell)
        recipe = self._recipe(setting)
        if recipe.labels != "given":
            model = self._with_pseudo_labels(recipe, train, cell, deadline)
        else:
            with seeded(self.seed, "setting", cell):
                data = self._training_set(setting, train, cell)
            model = self._trained(setting, data, cell, self.steps, deadline)
        predicted, labels = predict(model, test, self.device), dataset_labels(test)
        return Score(SCORES[self.name](predicted, labels), (predicted == labels).tolist())

    def estimate(self) -> Cost:
        train, test = (thinned(each, _FEW, dataset_labels(each)) for each in self._parts(0))
        trained_on, tested_on = (len(rows) for rows in self._rows(0))
        autoencoder, prepare = self.autoencoders.sketch(train, trained_on)
        _fitted(autoencoder, thinned(train, 8, train.targets))  # the first call is slower
        began = time.monotonic()
        fitted = _fitted(autoencoder, train)
        fitting = (time.monotonic() - began) * (trained_on + len(self.unlabelled or ())) / len(train)
        model = self._trained({"control": self.controls[-1]}, train, 0, 2)
        testing = seconds_each(lambda times: [predict(model, test, self.device) for _ in range(times)])
        testing *= tested_on / len(test)

        def seconds(setting: Setting) -> float:
            data = self._training_set(setting, train, 0, fitted)
            return self.steps * seconds_each(lambda steps: self._trained(setting, data, 0, steps)) + testing

        control = seconds({"control": self.controls[0]})
        setting = first_usable(seconds, in_order(self, {}))
        if self.unlabelled is None:
            return Cost(control, setting + fitting, prepare)
        longer = sum(recipe.labels != "given" for recipe in self.recipes.values())  # three trainings, and pseudo-labels
        reading = fitting + 2 * testing * len(self.unlabelled) / tested_on
        control += longer * (2 * control + reading) / len(self.recipes)
        return Cost(control, setting, prepare + fitting)

    def takes_settings(self, control: str) -> bool:
        """Return False for controls with pseudo-labels: their training set is known only after two trainings."""
        return self.recipes[control].labels == "given"

    def settle(self, control: str) -> None:
        """Use this control as the base of all settings, or the first base of the space if it is not among them."""
        bases = self.space["base"]
        self.space = {**self.space, "base": (control,) if control in bases else bases[:1]}

    def first(self, controls: Mapping[str, float]) -> list[Setting]:
        """Return the first settings, on top of the best control; with the largest residual for RGB, except `smooth`."""
        photographs = fetch(self.dataset, [0])[0].shape[1] == 3  # small autoencoders lose much of their detail
        low, high = min(self.space["residual"]), max(self.space["residual"])
        usual = {"ratio": 1.0, "balance": max(self.space["balance"]), "gate": False, "base": self.space["base"][0]}
        return [
            {"policy": policy, "residual": high if photographs and "smooth" not in policy else low, **usual}
            for policy in (*self.denoising[:1], *FIRST)
            if policy in self.space["policy"]
        ]

    def samples(self, cell: int) -> list[int]:
        return self._rows(cell)[1].tolist()

    def prepare(self, cell: int, deadline: float) -> None:
        train, _ = self._parts(cell)
        if self.autoencoders.train is not None:
            self.autoencoders.make(_cell_name(cell), train, deadline)
        if self.unlabelled is not None:
            self._reference(cell, train, deadline)

    def close(self) -> None:
        self.final_autoencoder()

    def final_autoencoder(self) -> Autoencoder:
        return self.autoencoders.whole(self.dataset, self.unlabelled)

    def describe(self, setting: Setting) -> str:
        if "control" in setting:
            return str(setting["control"])
        words = [setting["policy"]]
        words += [f"residual {setting['residual']:g}"] if setting["residual"] else []
        words += [f"ratio {setting['ratio']:g}"]
        words += [f"balance {setting['balance']:g}"] if setting["balance"] else []
        words += ["gate"] if setting["gate"] else []
        words += [f"then {setting['base']}"] if self.recipes[setting["base"]].code else []
        return ", ".join(words)

    def code(self, setting: Setting) -> str:
        recipe, policy = self._recipe(setting), None if "control" in setting else "policy.json"
        if recipe.labels == "given":
            return script(recipe, policy, unlabelled=self.unlabelled is not None)
        encoder = "autoencoder" if self.autoencoders.place is None else repr(self.autoencoders.place)
        return script_with_pseudo_labels(recipe, encoder, self.steps, self.batch_size)

    def shown(self, score: float) -> str:
        return f"{100 * score:.1f}"

    def config(self, setting: Setting, won: bool) -> dict[str, Any]:
        ratio, balance = (setting["ratio"], setting["balance"]) if won else (0.0, 0.0)
        known = AugmentConfig(
            policy=setting["policy"], p=round(ratio / (1 + ratio), 4), mixing=Mixing(ratio, balance),
            residual=setting["residual"], gate=QualityGate() if setting["gate"] else None,
            **self.autoencoders.kept(self.dataset, self.unlabelled),
        )  # fmt: skip
        more = 0 if self.unlabelled is None else len(self.unlabelled)
        return {**known.document(), "base": setting["base"], "unlabelled": more}

    def settings(self) -> dict[str, Any]:
        return {
            "task": self.name,
            "dataset": dataset_fingerprint(self.dataset),
            "images": len(self.dataset),
            "unlabelled": None if self.unlabelled is None else dataset_fingerprint(self.unlabelled),
            "autoencoder": self.autoencoders.settings(),
            "network": named(self.network),
            "controls": {name: placeless(recipe) for name, recipe in self.recipes.items()},
            "steps": self.steps,
            "batch_size": self.batch_size,
            "folds": self.folds,
            "space": {name: list(values) for name, values in self.space.items()},
        }

    def _space(self) -> dict[str, Sequence[Any]]:
        return {
            "policy": [*self.denoising, *self.autoencoders.usable(POLICIES, fetch(self.dataset, [0])[0])],
            "residual": RESIDUALS,
            "ratio": RATIOS,
            "balance": BALANCES if self.unequal else (0.0,),
            "gate": (False, True),
            "base": tuple(filter(self.takes_settings, self.controls)),
        }

    def _recipe(self, setting: Setting) -> Recipe:
        """Return the recipe that augments all images."""
        return self.recipes[setting.get("control") or setting["base"]]

    def _trained(self, setting: Setting, data: Any, cell: int, steps: int, deadline: float | None = None) -> nn.Module:
        """Return the classifier of a cell, trained on `data`."""
        recipe = self._recipe(setting)
        return train_classifier(
            self.network, data, num_classes=len(self.classes), steps=steps, batch_size=self.batch_size,
            mix=recipe.batch, prior=self._prior(data) if recipe.balance == "logit adjustment" else None,
            seed=fold(self.seed, "cell", cell), device=self.device, deadline=deadline,
        )  # fmt: skip

    def _with_pseudo_labels(self, recipe: Recipe, train: Any, cell: int, deadline: float) -> nn.Module:
        """Return the classifier of a cell, trained with pseudo-labels of the unlabelled images."""
        encoder = self.autoencoders.get(_cell_name(cell), train) if "latents" in recipe.labels else None
        return train_with_pseudo_labels(
            self.network, train, Until(self.unlabelled, deadline), encoder, transform=recipe.image, min_accuracy=0,
            steps=self.steps, batch_size=self.batch_size, mix=recipe.batch, seed=fold(self.seed, "cell", cell),
            device=self.device, deadline=deadline,
        ).model  # fmt: skip

    def _are_right(self) -> bool:
        """Return whether pseudo-labels from the latents are estimated to be accurate enough, for all cells at once."""
        try:
            pseudo_label(self.dataset, self.unlabelled, self.autoencoders.get("all", self.dataset), seed=self.seed)
        except PseudoLabelError:
            return False
        return True

    def _prior(self, data: Any) -> torch.Tensor:
        """Return the frequencies of the classes; a class without images counts as one image."""
        counts = dataset_labels(data).bincount(minlength=len(self.classes)).clamp_min(1)
        return counts / counts.sum()

    def _training_set(self, setting: Setting, train: Any, cell: int, fitted: Fitted | None = None) -> Any:
        """Return the data set to train on. fitted: replaces the autoencoder and the reference set of the cell."""
        recipe = self._recipe(setting)
        if "control" in setting:
            data = oversampled(train) if recipe.balance == "oversampling" else train
        else:
            autoencoder, reference = fitted or self._reference(cell, train)
            augment = augment_of(setting, autoencoder)
            augment.fit_reference(reference, images=train if setting["gate"] else None)
            mixing = Mixing(setting["ratio"], setting["balance"])
            data = MixedDataset(train, augment, sampling_strategy=mixing, seed=fold(self.seed, "mixed", cell))
        return data if recipe.image is None else Transformed(data, recipe.image)

    def _reference(self, cell: int, train: Any, deadline: float = math.inf) -> Fitted:
        """Return the autoencoder and the reference set of a cell, which are the same for all settings."""
        if cell not in self._fitted:
            if len(self._fitted) >= self.search_cells:  # keep those of the search, which are used for many settings
                self._fitted.popitem()
            more = None if self.unlabelled is None else Until(self.unlabelled, deadline)
            self._fitted[cell] = _fitted(self.autoencoders.get(_cell_name(cell), train), train, more)
        return self._fitted[cell]

    def _parts(self, cell: int) -> tuple[Any, Any]:
        """Return the training part and the test part of a cell."""
        train, test = (part(self.dataset, rows, self.labels) for rows in self._rows(cell))
        return train, test

    def _rows(self, cell: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the row numbers of both parts of a cell."""
        repeat, number = divmod(cell, self.folds)
        if repeat not in self._splits:
            from sklearn.model_selection import StratifiedKFold  # 1 s to import, needed only here

            splitter = StratifiedKFold(self.folds, shuffle=True, random_state=fold(self.seed, "split", repeat) % 2**32)
            self._splits[repeat] = list(splitter.split(np.zeros(len(self.labels)), self.labels.numpy()))
        return self._splits[repeat][number]


def augment_of(setting: Setting, autoencoder: Autoencoder) -> LatentAugment:
    """Return the transform for a setting, not fitted."""
    gate = QualityGate() if setting["gate"] else None
    return LatentAugment(autoencoder, setting["policy"], p=1.0, residual=setting["residual"], gate=gate)


def _fitted(autoencoder: Autoencoder, train: Any, unlabelled: Any = None) -> Fitted:
    """Return a copy of the autoencoder, because fitting can change its statistics, and the reference set."""
    augment = LatentAugment(copy.deepcopy(autoencoder)).fit(train, unlabelled=unlabelled)
    assert augment.reference is not None
    return augment.autoencoder, augment.reference


def _cell_name(cell: int) -> str:
    return f"cell-{cell:03d}"


def _check_same_shape(unlabelled: Any, dataset: Any) -> None:
    if len(unlabelled) == 0:
        raise DataError("unlabelled has no images; expected at least 1 image, or None")
    found, expected = (tuple(fetch(data, [0])[0].shape[1:]) for data in (unlabelled, dataset))
    if found != expected:
        raise ShapeError(f"unlabelled has images {found}; expected {expected}, the shape of the labelled images")


def _checked_classes(dataset: Any, labels: torch.Tensor, folds: int) -> list[str]:
    """Return the names of the classes; raise an error if a class of the data set cannot be in every fold."""
    if labels.ndim != 1:
        raise InputError(f"tune takes class numbers (N,), got soft labels {tuple(labels.shape)}")
    if folds < 2:
        raise InputError(f"folds must be at least 2, got {folds}")
    if int(labels.min()) < 0:
        raise DataError(f"got a label of {int(labels.min())}; expected class numbers >= 0: leave such images out")
    names = class_names(dataset, labels)
    present, sizes = labels.unique(return_counts=True)
    if len(present) < 2:
        raise DataError(
            "got images of 1 class, or without labels; expected at least 2 classes: put the files of each class "
            "into a separate folder, or choose the task fid, which needs no labels"
        )
    if int(sizes.min()) < folds:
        rare = names[int(present[sizes.argmin()])]
        raise DataError(
            f"class {rare!r} has {int(sizes.min())} images, too few for {folds} folds; "
            "expected at least 1 per fold: add images, or use fewer folds"
        )
    return names


def _checked_space(usual: dict[str, Sequence[Any]], own: Mapping[str, Sequence[Any]] | None) -> dict[str, Any]:
    """Return the default space, with the values of `own` where given; raise `InputError` for invalid ones."""
    space = chosen_space(usual, own)
    for residual in space["residual"]:
        if type(residual) not in (int, float) or not 0 <= residual <= 1:
            raise InputError(f"space['residual'] contains {residual!r}; expected numbers from 0 to 1")
    for ratio in space["ratio"]:
        for balance in space["balance"]:
            Mixing(ratio, balance)
            if ratio == balance == 0:
                raise InputError("space has ratio 0 with balance 0, which adds no samples; make one of them positive")
    if not set(space["gate"]) <= {True, False}:
        raise InputError(f"space['gate'] is {space['gate']}; expected True and False")
    for base in space["base"]:
        if base not in usual["base"]:
            raise InputError(f"space['base'] contains {base!r}; expected names of controls: {', '.join(usual['base'])}")
    return space
