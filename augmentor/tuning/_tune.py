"""`tune`: whether latent augmentation helps here, and which."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .._internal.datasets import fetch
from .._internal.files import absolute_path, write_bytes, write_json
from .._internal.geometry import mild_geometry
from .._internal.run import Run
from .._internal.version import __version__
from ..autoencoders import Autoencoder
from ..exceptions import BudgetError, InputError, OutputError
from ..training.classifier import Network, small_cnn
from ..training.recipes import Controls
from .autoencoders import Autoencoders, resolve
from .classification import SCORES, ClassificationTask
from .generation import GenerationTask
from .journal import Journal
from .race import Race
from .result import TuneResult, plot, sentence, table
from .row import Outcome
from .task import Task

TASKS = (*SCORES, "fid", "kid")


def tune(
    dataset: Any,
    autoencoder: str | Path | Autoencoder | Callable[[Any], Autoencoder] = "digits",
    *,
    task: str | Task = "accuracy",
    budget: float = 600.0,
    out: str | Path | None = None,
    seed: int = 0,
    folds: int = 3,
    network: Network = small_cnn,
    steps: int = 300,
    batch_size: int = 64,
    unlabelled: Any = None,
    denoiser: str | None = None,
    controls: Controls | None = None,
    space: Mapping[str, Sequence[Any]] | None = None,
    resume: bool = True,
    device: str = "cpu",
    progress: bool = True,
) -> TuneResult:
    """Find the best augmentation for a data set: a usual one, or latents on top of it.

    The usual augmentations of torchvision (`augmentor.training.usual_recipes`) race first; latent settings are then
    added to the best of them. The answer is "latent" only if a setting beats every control that is left on fresh
    cells, by a paired test at p < 0.05: beyond the luck of images and of trainings, or that of seeds for a GAN.
    Otherwise it is "none", and `best_control` names the augmentation to use. `TuneResult.code` is Python to paste.

    dataset: map-style, items (image, label), images uint8 or float in [0, 1], not augmented.
    autoencoder: a pretrained name, the path of a weights file or an `Autoencoder`, which may have seen whatever it saw;
        or a text such as "vae(latent_dim=16)" or a callable ``dataset -> Autoencoder``: then one is trained for each
        fold, on its training part alone.
    task: "accuracy" or "macro_recall" of a classifier by repeated stratified cross-validation, "fid" or "kid" of a
        small GAN, or a `Task`, which brings all below but budget, out, seed, resume and progress.
    budget: seconds, all runs on the folder together.
    out: a folder for `policy.json`, `table.md`, `tune.png` and the journal `trials.jsonl`. A run that was killed
        there goes on and comes to the answer it would have come to. resume=False refuses a folder with a run.
    folds, network, steps, batch_size: of the cross-validation and of each training; `network` is called with the
        numbers of channels and of classes.
    unlabelled: further images of the same kind for a classifier, map-style; their labels, if any, are not looked at.
        They join the reference set (`LatentAugment.fit`), where the result wants them too. With ``controls=None``
        training on pseudo-labels (`train_with_pseudo_labels`) is one of the controls.
    denoiser: as `Denoise` takes it, in a text; `denoise` with it at several strengths is then in the space. It may have
        seen whatever it saw, as the autoencoder; the time it takes counts.
    controls: names of some of the usual augmentations, or a dict of transforms of one's own, by name; the first is the
        default, which is recommended unless another is better by more than the best of as many equal ones would be by
        luck. None for all that fit the images; for a GAN these are a mild affine map and none.
    space: other values for "policy", "residual", "ratio", "balance", "gate" or "base" ("policy" or "mode" for a GAN).

    A few steps are timed before all else, and with `progress` a line says what the smallest useful budget is. Raises
    `BudgetError`, which says so too, for a smaller one; `DataError` for too few images of a class, `InputError` for
    settings that do not fit, `OutputError` for a folder that holds another run.

    >>> from augmentor.data import load_source
    >>> from augmentor.tuning.datasets import few_of_each
    >>> few = few_of_each(load_source("digits"), 6, seed=0)
    >>> space = {"policy": ["gaussian(std=0.5)"], "ratio": [1.0], "gate": [False]}
    >>> tune(few, "digits", budget=60, steps=4, folds=2, controls=[], space=space, progress=False).answer
    'none'
    """
    if not (isinstance(budget, (int, float)) and 0 < budget < math.inf):
        raise InputError(f"budget is a positive number of seconds, got {budget!r}")
    folder = None if out is None else absolute_path(out)
    if folder is not None and not resume and (folder / "run.json").exists():
        raise OutputError(f"{folder} holds a run already; name another folder, or let it go on")
    if isinstance(task, str):
        if task not in TASKS:
            raise InputError(f"task is one of {', '.join(TASKS)} or a Task, got {task!r}")
        moved = mild_geometry() if fetch(dataset, [0])[0].shape[1] in (1, 3) else None
        source = Autoencoders(resolve(autoencoder, dataset, moved, seed, device), folder, device)
        shared: dict[str, Any] = {"score": task, "controls": controls, "steps": steps, "batch_size": batch_size,
                                  "denoiser": denoiser, "space": space, "seed": seed, "device": device}  # fmt: skip
        if task in SCORES:
            shared |= {"network": network, "folds": folds, "unlabelled": unlabelled}
            task = ClassificationTask(dataset, source, **shared)
        elif unlabelled is not None:
            raise InputError(
                f"unlabelled is for a classifier, not for {task}; a GAN needs no labels: give it all images"
            )
        else:
            task = GenerationTask(dataset, source, **shared)
    return _raced(task, folder, budget, seed, progress)


def _raced(task: Task, folder: Path | None, budget: float, seed: int, progress: bool) -> TuneResult:
    import optuna  # 1 s to import, needed only here

    versions = {"version": __version__, "optuna": optuna.__version__}
    Run(folder, {"what": "tune", **task.settings(), "budget": budget, "seed": seed, **versions})
    journal = Journal(None if folder is None else folder / "trials.jsonl", task.clock)
    try:
        outcome = Race(task, journal, budget=budget, seed=seed, progress=progress).run()
    except BudgetError:
        _forget(folder)
        raise
    return _written(task, outcome, folder, {"seed": seed, **versions})


def _forget(folder: Path | None) -> None:
    """Remove a race that could not be held, so that the folder takes another budget."""
    if folder is not None:
        shutil.rmtree(folder / "autoencoders", ignore_errors=True)
        for name in ("trials.jsonl", "run.json"):
            (folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # half a file of a process that was killed may be left
            folder.rmdir()


def _written(task: Task, outcome: Outcome, folder: Path | None, provenance: dict[str, Any]) -> TuneResult:
    """The result, in the folder too."""
    control = task.describe(outcome.control.setting)
    answer = "latent" if outcome.won else "none"
    chosen = outcome.best if outcome.won else outcome.control
    found = {
        "answer": answer, "best_control": control, "code": task.code(chosen.setting), "task": task.name,
        "reason": outcome.reason,
        "setting": dict(outcome.best.setting), "final": outcome.best.on(outcome.final),
        "control_final": outcome.control.on(outcome.final),
    }  # fmt: skip
    model = task.final_autoencoder()
    config = {**task.config(outcome.best.setting, outcome.won), **found, **provenance}
    paths = {} if folder is None else {name: folder / name for name in ("policy.json", "table.md", "tune.png")}
    result = TuneResult(answer, config, table(task, outcome), sentence(task, outcome), paths, model)
    if folder is not None:
        write_bytes(folder / "table.md", result.markdown().encode())
        write_bytes(folder / "tune.png", plot(task, outcome))
        write_json(folder / "policy.json", config)  # last: where it is, all is
    return result
