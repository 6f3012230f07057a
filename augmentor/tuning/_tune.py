"""`tune`: finds out whether latent augmentation improves the score on a data set, and which setting is best."""

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
    autoencoder: str | Path | Autoencoder | Callable[[Any], Autoencoder] = "auto",
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
    """Find the best augmentation for a data set: a standard one, or latent samples in addition to it.

    The standard augmentations of torchvision (`augmentor.training.usual_recipes`) are compared first; then latent
    settings are tried on top of the best of them.

    A *control* is a standard augmentation, or no augmentation. A *cell* is one fold of a repeated cross-validation, or
    one seed of a GAN; each compared setting is trained and scored once per cell. The answer is "latent" only if a
    latent setting is significantly better than every remaining control, on cells that were not used in the search. The
    test is paired (p < 0.05) and accounts for the variation of images and of trainings (of seeds for a GAN). Otherwise
    the answer is "none", and ``result.config["best_control"]`` is the name of the augmentation to use.
    `TuneResult.code` is Python code to paste.

    dataset: map-style data set whose items are (image, label); images uint8 or float in [0, 1], not augmented.
    autoencoder: "auto" (the pretrained one that fits the images), a pretrained name, the path of a weights file or an
        `Autoencoder`, which is used for all folds, even if it was trained on these images; or a string such as
        "vae(latent_dim=16)" or a callable ``dataset -> Autoencoder``: then one is trained per fold, on its training
        part only.
    task: "accuracy" or "macro_recall" of a classifier by repeated stratified cross-validation, "fid" or "kid" of a
        small GAN, or a `Task`; with a `Task`, only budget, out, seed, resume and progress are used.
    budget: time limit in seconds, for all runs on the folder together.
    out: a folder for `policy.json`, `table.md`, `tune.png` and the journal `trials.jsonl`. An interrupted run in it is
        resumed and gives the same answer. resume: False raises an error for a folder with a run.
    seed: seed of the search and of all trainings. device: device of all trainings.
    progress: whether to show a progress bar and to print the estimated time.
    folds, network, steps, batch_size: number of folds of the cross-validation, and settings of each training; `network`
        is a function of the numbers of channels and of classes.
    unlabelled: further images of the same kind for a classifier, map-style; their labels are ignored. They are added to
        the reference set (`LatentAugment.fit`), and must be passed again when the result is used. With
        ``controls=None``, training on pseudo-labels (`train_with_pseudo_labels`) is one of the controls.
    denoiser: string that describes a denoiser, as in `Denoise`; it adds the policy `denoise` at several strengths to
        the space. It is used for all folds, even if it was trained on these images. The budget includes its computing
        time.
    controls: names of standard augmentations, or a dict of your own transforms by name. The first control is the
        default. Another control is recommended only if it is better by more than chance would explain for this number
        of controls. None: all that fit the images; for a GAN, a mild affine map and none.
    space: values to search for "policy", "residual", "ratio", "balance", "gate" or "base" ("policy" or "mode" for a
        GAN), in place of the default ones.

    At the start a few steps are timed, and with `progress` the estimated time of the comparison is printed. Raises
    `BudgetError` if the budget is too small to compare one setting with the default control, `DataError` for too few
    images of a class, `InputError` for settings that do not fit, `OutputError` for a folder that contains another run.

    >>> from augmentor.data import load_source
    >>> from augmentor.tuning.datasets import few_of_each
    >>> few = few_of_each(load_source("digits"), 6, seed=0)
    >>> space = {"policy": ["gaussian(std=0.5)"], "ratio": [1.0], "gate": [False]}
    >>> tune(few, "digits", budget=60, steps=4, folds=2, controls=[], space=space, progress=False).answer
    'none'
    """
    if not (isinstance(budget, (int, float)) and 0 < budget < math.inf):
        raise InputError(f"budget must be a positive number of seconds, got {budget!r}")
    folder = None if out is None else absolute_path(out)
    if folder is not None and not resume and (folder / "run.json").exists():
        raise OutputError(f"{folder} already contains a run; choose another folder, or resume the run")
    if isinstance(task, str):
        if task not in TASKS:
            raise InputError(f"task must be one of {', '.join(TASKS)} or a Task, got {task!r}")
        moved = mild_geometry() if fetch(dataset, [0])[0].shape[1] in (1, 3) else None
        source = Autoencoders(resolve(autoencoder, dataset, moved, seed, device), folder, device)
        shared: dict[str, Any] = {"score": task, "controls": controls, "steps": steps, "batch_size": batch_size,
                                  "denoiser": denoiser, "space": space, "seed": seed, "device": device}  # fmt: skip
        if task in SCORES:
            shared |= {"network": network, "folds": folds, "unlabelled": unlabelled}
            task = ClassificationTask(dataset, source, **shared)
        elif unlabelled is not None:
            raise InputError(
                f"unlabelled is for a classifier, not for {task}; a GAN needs no labels: add these images to dataset"
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
    """Remove the files of a run with too small a budget, so that the folder can be used with another budget."""
    if folder is not None:
        shutil.rmtree(folder / "autoencoders", ignore_errors=True)
        for name in ("trials.jsonl", "run.json"):
            (folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a killed process may have left a partial file
            folder.rmdir()


def _written(task: Task, outcome: Outcome, folder: Path | None, provenance: dict[str, Any]) -> TuneResult:
    """Return the result, and write it to the folder if there is one."""
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
        write_json(folder / "policy.json", config)  # last, so that it exists only in a complete folder
    return result
