"""`GANTrainer`: runs a training method on a data set, evaluates the generator, and resumes interrupted runs."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from .._internal.checks import check_counts, check_range
from .._internal.datasets import dataset_fingerprint, dataset_labels, fetch, is_map_style
from .._internal.engine import Engine, check_engine, get_engine
from .._internal.files import absolute_path
from .._internal.pictures import png
from .._internal.progress import progress_bar
from .._internal.run import Run
from .._internal.weights import fingerprint, save_network
from ..exceptions import AugmentorWarning, DataError, InputError, TrainingError
from ..quality import named_scores
from .board import Board
from .evaluation import Evaluator, check_evaluated, sample
from .feed import Feed
from .guards import GUARDS, troubles
from .methods import TrainingMethod
from .networks import Generator

# Number of samples that are checked for values that are not finite.
_LOOKED_AT = 10


class GANTrainer:
    """Trainer of a training method; it averages the weights of the generator and returns the best average.

    method: the training method, such as ``get_method("gan", image_shape=(1, 28, 28), num_classes=10)``.
    steps: number of steps of the generator. batch_size: number of images per step, over all processes. ema_decay: decay
        of the moving average of the generator's weights, at least 0 and below 1.
    round_steps: number of steps per round. After each round the generator is evaluated and a checkpoint is written.
    features: a feature extractor as in `augmentor.quality`, to compute FID, KID, precision and recall every
        `round_steps` steps. If it is None, these scores are not computed. best_by: the score that selects the best
        generator: "fid", "kid" or a score of the training method ("held_out_loss" of "flow"). If it is not computed,
        the last generator is returned.
    patience: number of rounds in a row without a better score after which training stops; needs `features`, or a score
        of the training method. None: train for all `steps`.
    stop_on: those of "collapse", "saturation" and "divergence" that stop the run with a `TrainingError`. All three are
        reported as an `AugmentorWarning` and in the history, when they have lasted for 1000 steps.
    out: a folder for `generator.safetensors` (the best snapshot so far), `history.jsonl`, sample grids, TensorBoard
        events if it is installed, and the checkpoint. An interrupted run in it is resumed, and ends with the same
        weights.
    seed: seed of the batches, the noise and the evaluation. progress: whether to show a progress bar.
    device, devices, precision: device to train on, number of processes on this machine (with ``torchrun``: the number
        that it started), and "fp32" or "bf16". More than one process, and bf16, need the extra `distributed`. The
        random numbers of a sample do not depend on the number of processes.

    The attribute `history` is a list of one dict per round, with the step, the mean losses and the scores.

    Raises `InputError` for arguments out of range. `fit` raises `InputError`, `DataError` or `RangeError` for data that
    do not fit, `OutputError` if `out` contains other files or a run with other settings, and `TrainingError` if a loss
    is not finite; the last good checkpoint is kept.

    >>> from augmentor.data import load_source
    >>> from augmentor.gan import get_method
    >>> method = get_method("gan", network="dcgan(width=8)", image_shape=(1, 8, 8))
    >>> trainer = GANTrainer(method, steps=2, batch_size=8, progress=False)
    >>> generator = trainer.fit(load_source("digits"))
    >>> [row["step"] for row in trainer.history], trainer.best["step"]
    ([2], 2)
    """

    def __init__(
        self,
        method: TrainingMethod,
        *,
        steps: int = 5000,
        batch_size: int = 64,
        ema_decay: float = 0.995,
        features: Callable[[torch.Tensor], torch.Tensor] | None = None,
        best_by: str = "fid",
        patience: int | None = None,
        round_steps: int = 500,
        stop_on: Collection[str] = (),
        out: str | Path | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        devices: int = 1,
        precision: str = "fp32",
        progress: bool = True,
    ):
        if not isinstance(method, TrainingMethod):
            raise InputError(
                f"method must be a TrainingMethod, such as get_method('gan', image_shape=(1, 28, 28)); got {method!r}"
            )
        check_counts(steps=steps, batch_size=batch_size, round_steps=round_steps)
        if not 0 <= ema_decay < 1:
            raise InputError(f"ema_decay must be at least 0 and below 1, got {ema_decay}")
        if best_by not in ("fid", "kid", *method.scores):
            scores = ", ".join(map(repr, ("fid", "kid", *method.scores)))
            raise InputError(f"best_by must be one of {scores} with training method {method.name!r}, got {best_by!r}")
        if patience is not None and patience < 1:
            raise InputError(f"patience must be at least 1, got {patience!r}")
        if patience is not None and features is None and best_by not in method.scores:
            scores = f", or best_by= one of {', '.join(map(repr, method.scores))}" if method.scores else ""
            raise InputError(f"patience needs a score: pass features={scores}")
        if isinstance(stop_on, str) or not set(stop_on) <= GUARDS.keys():
            raise InputError(f"stop_on must be a collection of {', '.join(map(repr, GUARDS))}, got {stop_on!r}")
        check_engine(devices, precision)
        self.method = method
        self.steps, self.batch_size, self.ema_decay = steps, batch_size, ema_decay
        self.features, self.best_by, self.patience = features, best_by, patience
        self.round_steps, self.stop_on = round_steps, stop_on
        self.out = None if out is None else absolute_path(out)
        self.seed, self.device, self.progress = seed, torch.device(device), progress
        self.devices, self.precision = devices, precision
        self.history: list[dict[str, Any]] = []

    def fit(self, dataset: Any, reference: Any = None) -> Generator:
        """Train on a data set and return the best averaged generator.

        dataset: map-style data set whose items are images or `(image, label)`. reference: real images for the
        evaluation; None uses `dataset`.
        """
        method, evaluated = self.method, dataset if reference is None else reference
        engine = get_engine(self.device, self.devices, self.precision)
        self._prepare(dataset, evaluated, engine)
        averaged = AveragedModel(method.generator, multi_avg_fn=get_ema_multi_avg_fn(self.ema_decay))
        generator: Any = averaged.module
        best = copy.deepcopy(generator)
        run = Run(self.out if engine.writes else None, self._settings(dataset, evaluated))
        step = self._resume(run, averaged, best)
        evaluator = None
        if engine.writes:
            evaluator = Evaluator(evaluated, self.features, self.seed, engine.device, generator.num_classes)

        show = self.progress and engine.writes
        bar = progress_bar(total=self.steps, initial=step, desc=f"train {method.name}", show=show)
        with bar, closing(Board(run.folder)) as board:
            while step < self.steps and not self._out_of_patience():
                self._stop_if_asked(step)
                method.start_round(step, generator)
                end = min(self.steps, (step // self.round_steps + 1) * self.round_steps)
                row = self._train(range(step, end), averaged, bar)
                step = end

                self._refuse_what_is_not_finite(generator, row)
                row |= method.measured(generator)
                if evaluator is not None:
                    row |= evaluator.row(generator)
                    picture = evaluator.grid(generator)
                    run.write(f"samples/step-{step:07d}.png", png(picture))
                    board.add(row, picture)
                row = self._with_alerts(engine.agree(row), say=engine.writes)
                if self._is_best(row):
                    best.load_state_dict(generator.state_dict())
                    _save(run, "generator.safetensors", best, row)
                bar.set_postfix(self._shown(row), refresh=False)
                networks = {"averaged": averaged.state_dict(), "best": best.state_dict()}
                run.save({"method": method.state_dict(), **networks, "step": step}, row)

        best.eval()
        for name, network in method.finish(best).items():
            _save(run, f"{name}.safetensors", network, self.best)
        return best

    def check(self, dataset: Any, reference: Any = None) -> None:
        """Raise the errors that `fit` would raise for data that does not fit; nothing is trained or written."""
        evaluated = dataset if reference is None else reference
        self._prepare(dataset, evaluated, get_engine(self.device, self.devices, self.precision))

    def _prepare(self, dataset: Any, evaluated: Any, engine: Engine) -> None:
        """Prepare the training method for the data; raise the errors of data that does not fit."""
        self._check_fits(dataset)
        check_evaluated(evaluated, self.features, engine.device)
        labelled = self.method.generator.num_classes > 0
        size = min(self.batch_size, len(dataset))
        self.method.prepare(Feed(dataset, size, self.seed, engine, labelled=labelled))

    @property
    def best(self) -> dict[str, Any]:
        """Row of the history of the generator that `fit` returns: of the first round with the best score, or of the
        last round if there is no score.
        """
        last = self.history[-1]
        return min(self.history, key=lambda row: row[self.best_by]) if self.best_by in last else last

    def sample(self, generator: Generator, count: int, purpose: str = "samples") -> torch.Tensor:
        """Return `count` float images (count,C,H,W) on the CPU, of all classes in turn; every call returns the same."""
        return sample(generator, count, self.seed, next(generator.parameters()).device, purpose)

    def _resume(self, run: Run, averaged: AveragedModel, best: Generator) -> int:
        """Load the checkpoint of the run, if there is one, and return its step, else 0."""
        agree = self.method.feed.engine.agree
        state = agree(run.load())
        self.history = run.history = agree(run.history)
        if state is None:
            return 0
        self.method.load_state_dict(state["method"])
        averaged.load_state_dict(state["averaged"])
        best.load_state_dict(state["best"])
        return state["step"]

    def _is_best(self, row: dict[str, Any]) -> bool:
        """Return whether this round has a better score than all before it, or there is no score."""
        return self.best_by not in row or all(row[self.best_by] < before[self.best_by] for before in self.history)

    def _out_of_patience(self) -> bool:
        """Return whether `patience` rounds have passed since the best one."""
        if self.patience is None or not self.history:
            return False
        return sum(row["step"] > self.best["step"] for row in self.history) >= self.patience

    def _train(self, steps: range, averaged: AveragedModel, bar: Any) -> dict[str, Any]:
        """Take these steps and return the row of the history: means of the logged values over steps and processes."""
        sums: dict[str, torch.Tensor] = {}
        for step in steps:
            for name, value in self.method.step(step).items():
                sums[name] = sums.get(name, 0) + value / len(steps)
            averaged.update_parameters(self.method.generator)
            bar.update()
        means = self.method.feed.engine.mean(torch.stack(list(sums.values()))).tolist()
        return {"step": steps.stop, **dict(zip(sums, means, strict=True)), **self.method.status()}

    def _check_fits(self, dataset: Any) -> None:
        """Raise for images or labels that do not fit the generator, before a file is written."""
        generator = self.method.generator
        if not is_map_style(dataset):
            raise InputError(f"fit takes a map-style data set, with a length and indices; got {type(dataset).__name__}")
        if len(dataset) == 0:
            raise DataError("got an empty data set; expected at least one image")
        images, labels = fetch(dataset, range(min(self.batch_size, len(dataset))))
        check_range(images, "GANTrainer")
        if tuple(images.shape[1:]) != tuple(generator.image_shape):
            raise InputError(
                f"the data set has images {tuple(images.shape[1:])} and the networks take {generator.image_shape}; "
                "build the networks for this shape, or resize the images"
            )
        classes = generator.num_classes
        if classes and (labels is None or labels.ndim != 1):
            raise InputError(
                "a conditional GAN needs one class number per image, and the data set has none; add labels, or build "
                "an unconditional one"
            )
        if classes:
            known = dataset_labels(dataset)
            if int(known.min()) < 0:
                raise InputError(
                    f"a conditional GAN needs class numbers of at least 0, the data set has {int(known.min())}; "
                    "leave out the images with this label, or build an unconditional one"
                )
            if int(known.max()) >= classes:
                raise InputError(
                    f"the networks take classes 0 to {classes - 1}, the data set has {int(known.max())}; increase "
                    "num_classes, or renumber the classes"
                )

    def _refuse_what_is_not_finite(self, averaged: Generator, row: dict[str, Any]) -> None:
        """Raise `TrainingError` for losses, weights or samples that are not finite.

        The losses of a round do not include the effect of its last step, so weights and samples are checked too.
        """
        step, advice = (
            row["step"],
            f"the last good checkpoint is kept: try a lower learning rate than lr={self.method.lr}",
        )
        broken = {name: value for name, value in row.items() if not math.isfinite(value)}
        if broken:
            values = ", ".join(f"{name} became {value}" for name, value in broken.items())
            raise TrainingError(f"{values} before step {step}; {advice}")
        weights = [w.detach() for network in self.method.networks().values() for w in network.parameters()]
        if not bool(torch.stack([w.isfinite().all() for w in weights]).all()) or not bool(
            self.sample(averaged, _LOOKED_AT).isfinite().all()
        ):
            raise TrainingError(f"the weights or the generated images are no longer finite at step {step}; {advice}")

    def _shown(self, row: dict[str, Any]) -> dict[str, str]:
        """Return the losses and the Fréchet distance for the progress bar; its name gives the features."""
        named = named_scores(row, getattr(self.features, "name", "features"))
        names = [name for name in named if name in ("d_loss", "g_loss", "fid") or name.startswith("fd-")]
        return {name: f"{named[name]:.3f}" for name in names}

    def _with_alerts(self, row: dict[str, Any], *, say: bool) -> dict[str, Any]:
        """Return the row with the names of the guards that are met; warn about each once if `say`."""
        before = self.history[-1].get("alerts", ()) if self.history else ()
        alerts = troubles([*self.history, row])
        for name in alerts:
            if say and name not in before:
                warnings.warn(f"{name} at step {row['step']}: {GUARDS[name][1]}", AugmentorWarning, stacklevel=3)
        return {**row, "alerts": alerts} if alerts else row

    def _stop_if_asked(self, step: int) -> None:
        alerts = self.history[-1].get("alerts", ()) if self.history else ()
        for name in alerts:
            if name in self.stop_on:
                raise TrainingError(
                    f"stopped after step {step} because of {name}: {GUARDS[name][1]}; "
                    "the best snapshot and the checkpoint are kept"
                )

    def _settings(self, dataset: Any, evaluated: Any) -> dict[str, Any]:
        names = ("steps", "batch_size", "ema_decay", "best_by", "patience", "round_steps", "seed", "precision")
        weights = self.features.state_dict() if isinstance(self.features, nn.Module) else None
        return {
            "what": "gan",
            **self.method.settings(),
            "features": None if self.features is None else type(self.features).__name__,
            "features_sha256": None if weights is None else fingerprint(weights),
            "dataset": dataset_fingerprint(dataset),
            "reference": None if evaluated is dataset else dataset_fingerprint(evaluated),
            "images": len(dataset),
            **{name: getattr(self, name) for name in names},
        }


def _save(run: Run, name: str, network: Any, row: dict[str, Any]) -> None:
    path = run.path(name)
    if path is not None:
        save_network(network, path, row)
