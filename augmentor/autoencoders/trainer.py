"""`AutoencoderTrainer`: exactly resumable training of an autoencoder, counted in steps."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Subset

from .._internal.batches import BatchStream
from .._internal.checks import check_counts, check_range, to_unit_float
from .._internal.datasets import dataset_fingerprint, fetch, is_map_style
from .._internal.each_image import transform_each
from .._internal.engine import PRECISIONS
from .._internal.files import absolute_path
from .._internal.geometry import mild_geometry
from .._internal.interrupts import deferred_interrupt
from .._internal.pictures import grid, png
from .._internal.progress import progress_bar
from .._internal.random import fold, seeded, torch_generator
from .._internal.registry import describe
from .._internal.run import Run
from .._internal.weights import OF_AUTOENCODER, save_network
from ..exceptions import DataError, InputError, TrainingError
from ..quality import Verdict, assess
from ..quality.reconstruction import psnr
from .adapters import AdaptedAutoencoder
from .base import Autoencoder
from .plateau import Plateau
from .training_state import TrainingState

# Steps between validations, each with a history row and a checkpoint.
_INTERVAL = 100
# Maximum number of held-out images; more take longer and hardly change the mean.
_MOST_HELD_OUT = 500
# Validation batches have at most 256 images and this many pixels, such as 16 images of 256x256.
_PIXELS = 2**20
# Smaller sets get geometric augmentation: each image occurs more than six times in the first 1000 batches of 32.
SMALL_SET = 5000
# Peak learning rates for random and for pretrained weights.
LR, FINE_TUNING_LR = 2e-3, 5e-4


class AutoencoderTrainer:
    """Trainer with AdamW that keeps the averaged weights with the best validation PSNR.

    Every 100 steps the PSNR in dB of held-out images is measured, with an exponential moving average of the weights.
    If its best value has not increased by 0.05 dB in `patience` measurements, the learning rate is reduced to a
    quarter. If this happens again after two reductions, training ends. Neither happens before `min_steps`.

    autoencoder: trained in place. To fine-tune a pretrained one, use a lower `lr`, such as 5e-4.
    out: folder for `model.safetensors`, `history.jsonl`, `reconstructions.png` and the checkpoint. A stopped run
        resumes from there and ends with the same weights. None writes no files.
    steps: exact number of optimiser steps. None: until PSNR stops increasing. If the run in `out` has taken fewer
        steps, it is continued. Otherwise its weights are returned unchanged.
    minutes: maximum wall time of this call, in minutes. Training then ends, and all results are written. None: no
        limit.
    batch_size: number of images per step. lr: largest learning rate. weight_decay: weight decay of AdamW. warmup:
        number of steps over which the learning rate increases.
    val_fraction: fraction of the data held out, at most 500 images. With 0 all images are used for training and the
        last averaged weights are kept; then `steps` or `minutes` is required.
    patience, min_steps: see above. The `kl_warmup` of a family is a fraction of `min_steps`.
    transform: applied to each training image (uint8 or float tensor (C,H,W)), as torchvision transforms are. During the
        transform the global torch generator is seeded, and then restored, so that a resumed run draws the same
        numbers. "auto" is `mild_geometry("edge")` for fewer than 5,000 images, else None.
    start: origin of the initial weights, such as a pretrained name, recorded in `run.json`.
    seed: seed of split, order, noise and transform. device: device for training. progress: whether to show a progress
        bar.
    precision: "fp32" or "bf16" (autocast); "auto" is bf16 on CUDA, else fp32. On a CPU with AMX bf16 is 3 times as
        fast.

    After `fit`, `history` has one row per measurement (step, epoch, psnr_db, val_loss, each loss, lr, seconds),
    `held_out` has the indices of the held-out images, `steps_taken` is the number of steps of all calls, and `ended` is
    the reason why this call ended: "done" (no steps were left), "steps", "plateau", "minutes" or "interrupted".

    >>> from augmentor.autoencoders import get_autoencoder
    >>> from augmentor.data import load_source
    >>> trainer = AutoencoderTrainer(get_autoencoder("vae").example(), steps=10, progress=False)
    >>> trainer.fit(load_source("digits")).stats.fitted
    tensor(True)
    >>> trainer.ended, [row["step"] for row in trainer.history]
    ('steps', [10])
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        *,
        out: str | Path | None = None,
        steps: int | None = None,
        minutes: float | None = None,
        batch_size: int = 32,
        lr: float = LR,
        weight_decay: float = 1e-4,
        warmup: int = 100,
        val_fraction: float = 0.1,
        patience: int = 3,
        min_steps: int = 1000,
        transform: Callable[[Any], Any] | str | None = "auto",
        start: str | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        precision: str = "auto",
        progress: bool = True,
    ):
        check_counts(batch_size=batch_size, patience=patience, min_steps=min_steps)
        if steps is not None:
            check_counts(steps=steps)
        for name, number in {"lr": lr, "minutes": minutes}.items():
            if number is not None and not 0 < number < math.inf:
                raise InputError(f"{name} must be positive and finite, got {name}={number}")
        if warmup < 0:
            raise InputError(f"warmup must be a number of steps, at least 0, got {warmup}")
        if not 0 <= val_fraction < 1:
            raise InputError(f"val_fraction must be at least 0 and below 1, got {val_fraction}")
        if not val_fraction and steps is None and minutes is None:
            raise InputError("training without held-out images (val_fraction=0) has no end: give steps or minutes")
        if precision not in ("auto", *PRECISIONS):
            raise InputError(f"precision must be auto, {' or '.join(PRECISIONS)}, got {precision!r}")
        if isinstance(transform, str) and transform != "auto":
            raise InputError(f"transform must be a callable, None or 'auto', got {transform!r}")
        if isinstance(autoencoder, AdaptedAutoencoder):
            raise InputError(
                f"AutoencoderTrainer trains autoencoders of this package, got an adapted one ({autoencoder.name}); "
                "train it with its own library"
            )
        if autoencoder.dtype != torch.float32:
            raise InputError(f"AutoencoderTrainer trains float32 weights, got {autoencoder.dtype}; call .float() first")
        self.autoencoder = autoencoder.requires_grad_(True)
        self.out = None if out is None else absolute_path(out)
        self.steps, self.minutes, self.batch_size = steps, minutes, batch_size
        self.lr, self.weight_decay, self.warmup = lr, weight_decay, warmup
        self.val_fraction, self.patience, self.min_steps = val_fraction, patience, min_steps
        self.transform, self.start, self.seed, self.progress = transform, start, seed, progress
        self.device = torch.device(device)
        self.precision = precision
        self.history: list[dict[str, Any]] = []
        self.held_out: list[int] = []
        self.steps_taken, self.ended = 0, ""

    def fit(self, dataset: Any) -> Autoencoder:
        """Train on a map-style data set of images or `(image, label)`, and return the autoencoder in eval mode.

        Its `verdict` is computed on the held-out images.

        Ctrl-C ends training after the current step, writes the files of a finished run, and then raises
        `KeyboardInterrupt`. With `out`, the next call resumes the run with the same result. A second Ctrl-C raises at
        once.

        Raises `InputError` for data that are not map-style, `DataError` for fewer than 2 images, `ShapeError` or
        `RangeError` for images that do not fit, `OutputError` if `out` contains other files or a run with other
        settings, and `TrainingError` if the loss is not finite; the last good checkpoint is kept.
        """
        if not is_map_style(dataset):
            raise InputError(
                f"AutoencoderTrainer takes a map-style data set, with a length and indices, got "
                f"{type(dataset).__name__}; convert an iterable with list(...)"
            )
        model = self.autoencoder.to(self.device)
        train, held_out = self._split(len(dataset))
        self.held_out = held_out.tolist()
        self._check_fits(dataset)
        transform = self._transform_for(len(dataset))
        stream = BatchStream(dataset, train, min(self.batch_size, len(train)), self.seed)
        run = Run(self.out, self._settings(dataset, transform))
        state = self._state(run.load())
        self.history = run.history
        before = state.step
        with deferred_interrupt() as interrupted:
            ended = self._train(state, stream, transform, held_out, run, interrupted)
            nothing_to_do = state.step == before and ended in ("steps", "plateau")
            self.ended, self.steps_taken = "done" if nothing_to_do else ended, state.step
            model.load_state_dict(self._best(state, stream, held_out, run, moved=state.step > before))
            model.eval()
            self._fit_stats(dataset, train)
            model.verdict = self._verdict(dataset, train, held_out)
            self._write_results(run, dataset, held_out if len(held_out) else train)
        if interrupted():
            raise KeyboardInterrupt(self._stopped(state))
        return model

    @property
    def psnr_db(self) -> float | None:
        """Mean PSNR in dB of the kept weights on the held-out images; None without such images."""
        return max((row["psnr_db"] for row in self.history if "psnr_db" in row), default=None)

    def _stopped(self, state: TrainingState) -> str:
        if self.ended != "interrupted":
            return f"training has ended at step {state.step}, and all results are written"
        last = self._last_step(state)
        of = "" if last is None else f" of {'' if self.steps else 'at least '}{last}"
        further = (
            "no files are written, because out is None"
            if self.out is None
            else f"start it the same way to resume from {self.out}"
        )
        return f"stopped at step {state.step}{of}; {further}"

    def _state(self, checkpoint: dict[str, Any] | None) -> TrainingState:
        model, plateau = self.autoencoder, Plateau(self.patience, _INTERVAL, self.min_steps)
        optimizer = torch.optim.AdamW(model.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        return TrainingState(model, optimizer, plateau, checkpoint)

    def _train(
        self,
        state: TrainingState,
        stream: BatchStream,
        transform: Callable[[Any], Any] | None,
        held_out: np.ndarray,
        run: Run,
        interrupted: Callable[[], bool],
    ) -> str:
        """Take steps until there is a reason to end, and return the reason."""
        first, seconds, began = state.step, state.seconds, time.monotonic()
        total, name = self._last_step(state), f"train {self.autoencoder.name}"
        with progress_bar(total=total, initial=first, desc=name, unit="step", show=self.progress) as bar:
            while not (reason := self._reason_to_end(state, time.monotonic() - began, interrupted())):
                self._step(state, self._training_batch(stream, transform, state.step))
                elapsed = time.monotonic() - began
                state.seconds = seconds + elapsed
                if state.step % _INTERVAL == 0:
                    row = self._measured(state, stream, held_out)
                    state.take(row)
                    run.save(state.checkpoint(), row)
                rate = (state.step - first) / max(elapsed, 1e-9)  # a clock may be coarser than a step
                bar.total = self._last_step(state, rate, elapsed)
                images = f"{rate * stream.batch_size:.0f}"
                decibels = {} if self.psnr_db is None else {"PSNR": f"{self.psnr_db:.2f} dB"}
                bar.set_postfix({"img/s": images, **decibels}, refresh=False)
                bar.update()
        return reason

    def _reason_to_end(self, state: TrainingState, elapsed: float, interrupted: bool) -> str:
        """Return why training ends here, or an empty string. elapsed: seconds of this call."""
        if state.step >= self.steps if self.steps is not None else state.plateau.over(state.step):
            return "plateau" if self.steps is None else "steps"
        if self.minutes is not None and elapsed >= 60 * self.minutes:
            return "minutes"
        return "interrupted" if interrupted else ""

    def _last_step(self, state: TrainingState, rate: float = 0.0, elapsed: float = 0.0) -> int | None:
        """Return the earliest step at which training can end, or None if unknown. rate: in steps per second."""
        ends = [self.steps] if self.steps is not None else []
        if self.steps is None and self.val_fraction:
            ends.append(state.plateau.earliest_end(state.step))
        if self.minutes is not None and rate:
            ends.append(state.step + math.ceil(max(0.0, 60 * self.minutes - elapsed) * rate))
        return min(ends, default=None)

    def _step(self, state: TrainingState, images: torch.Tensor) -> None:
        model, step = self.autoencoder.train(), state.step
        for group in state.optimizer.param_groups:
            group["lr"] = self._lr(state)
        generator = torch_generator(self.device, self.seed, "noise", step)
        bf16 = self.device.type == "cuda" if self.precision == "auto" else self.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            losses = model.training_losses(images, generator, progress=min(1.0, step / self.min_steps))
            loss = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(loss):
            raise TrainingError(self._diverged(float(loss.detach()), step))
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if not torch.isfinite(norm):
            raise TrainingError(self._diverged(float(norm), step, "gradient"))
        state.optimizer.step()
        state.stepped({name: float(value.detach()) for name, value in losses.items()})

    def _lr(self, state: TrainingState) -> float:
        """Return the learning rate: linear warmup, then constant, with a reduction at each plateau."""
        return self.lr * state.plateau.rate * min(1.0, (state.step + 1) / max(1, self.warmup))

    def _diverged(self, value: float, step: int, what: str = "loss") -> str:
        return (
            f"the {what} became {value} at step {step}; the last good checkpoint is kept: "
            f"try a learning rate below lr={self.lr}"
        )

    def _training_batch(self, stream: BatchStream, transform: Callable[[Any], Any] | None, step: int) -> torch.Tensor:
        images, _ = fetch(stream.dataset, stream.indices(step).tolist())
        check_range(images, "AutoencoderTrainer")
        if transform is None:
            return to_unit_float(images.to(self.device, non_blocking=True))
        with seeded(self.seed, "transform", step):
            images = transform_each(transform, images)
        return to_unit_float(images.to(self.device)).clamp(0, 1)

    def _measured(self, state: TrainingState, stream: BatchStream, held_out: np.ndarray) -> dict[str, Any]:
        """Return the history row of the current averaged weights."""
        row = {
            "step": state.step,
            "epoch": round(state.step / stream.steps_per_epoch, 3),
            **self._validation(state.averaged, stream.dataset, held_out),
            **state.mean_losses(),
            "lr": self._lr(state),
            "seconds": round(state.seconds, 1),
        }
        if not all(bool(weight.isfinite().all()) for weight in state.averaged.parameters()):
            raise TrainingError(self._diverged(math.nan, state.step, "weights"))
        if not math.isfinite(row.get("val_loss", 0.0) + row.get("psnr_db", 0.0)):
            raise TrainingError(self._diverged(row["val_loss"], state.step))
        return row

    @torch.no_grad()
    def _validation(self, averaged: Autoencoder, dataset: Any, held_out: np.ndarray) -> dict[str, float]:
        """Return means over the held-out images; an empty dict without such images."""
        if not len(held_out):
            return {}
        generator = torch_generator(self.device, self.seed, "validation")
        decibels, loss = 0.0, 0.0
        for images in map(to_unit_float, self._batches(dataset, held_out)):
            losses = averaged.training_losses(images, generator)
            loss += float(torch.stack(list(losses.values())).sum()) * len(images)
            decibels += float(psnr(averaged(images), images).sum())
        return {"psnr_db": decibels / len(held_out), "val_loss": loss / len(held_out)}

    def _best(
        self, state: TrainingState, stream: BatchStream, held_out: np.ndarray, run: Run, *, moved: bool
    ) -> dict[str, Any]:
        """Return the best weights at the end of a call.

        A call that ends between two regular measurements adds one for these weights; a resumed run discards it.
        """
        if state.step and state.step % _INTERVAL == 0:
            return state.best
        row = self._measured(state, stream, held_out)
        if moved:
            run.save(state.checkpoint(), row, passing=True)
        else:
            run.history.append(row)  # the row that the previous call wrote
        return state.averaged.state_dict() if state.is_best(row) else state.best

    @torch.no_grad()
    def _fit_stats(self, dataset: Any, members: np.ndarray) -> None:
        """Fit the statistics that standardise latents."""
        model = self.autoencoder
        batches = self._batches(dataset, members, "latent statistics")
        model.stats.fit(model.encode(images).mean for images in batches)

    def _verdict(self, dataset: Any, train: np.ndarray, held_out: np.ndarray) -> Verdict | None:
        """Return the verdict on the held-out images; None without such images."""
        if not len(held_out):
            return None
        learnt, unseen = (Subset(dataset, rows.tolist()) for rows in (train, held_out))
        return assess(self.autoencoder, unseen, training=learnt, seed=self.seed)

    @torch.no_grad()
    def _write_results(self, run: Run, dataset: Any, members: np.ndarray) -> None:
        """Write a picture of images and their reconstructions, and the weights."""
        images, _ = fetch(dataset, members[:12].tolist())
        run.write("reconstructions.png", png(grid([images, self.autoencoder(images.to(self.device))])))
        weights = run.path(OF_AUTOENCODER)
        if weights is not None:
            verdict = self.autoencoder.verdict
            info = {
                "verdict": None if verdict is None else verdict.figures(), "dataset": dataset_fingerprint(dataset),
                "psnr_db": self.psnr_db, "steps": self.steps_taken, "images": len(dataset), "seed": self.seed,
            }  # fmt: skip
            save_network(self.autoencoder, weights, info)

    def _batches(self, dataset: Any, members: np.ndarray, doing: str | None = None) -> Iterator[torch.Tensor]:
        starts, show = range(0, len(members), self._at_once), self.progress and doing is not None
        for start in progress_bar(starts, desc=doing, unit="batch", leave=False, show=show):
            yield fetch(dataset, members[start : start + self._at_once].tolist())[0].to(self.device)

    def _split(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the indices of training and validation images; the latter are empty if `val_fraction` is 0."""
        if count < 2:
            raise DataError(f"training needs at least 2 images, got {count}")
        order = np.random.Generator(np.random.Philox(fold(self.seed, "split"))).permutation(count)
        held_out = min(count - 1, math.ceil(self.val_fraction * count), _MOST_HELD_OUT)
        return order[held_out:], order[:held_out]

    def _transform_for(self, count: int) -> Callable[[Any], Any] | None:
        if isinstance(self.transform, str):
            return mild_geometry("edge") if count < SMALL_SET else None
        return self.transform

    def _check_fits(self, dataset: Any) -> None:
        images, _ = fetch(dataset, range(min(self.batch_size, len(dataset))))
        check_range(images, "AutoencoderTrainer")
        self._at_once = max(1, min(256, _PIXELS // math.prod(images.shape[2:])))
        with torch.no_grad():
            self.autoencoder.encode(images[:1].to(self.device))

    def _settings(self, dataset: Any, transform: Callable[[Any], Any] | None) -> dict[str, Any]:
        """Return all settings that determine a step, without the number of steps."""
        names = ("batch_size", "lr", "weight_decay", "warmup", "val_fraction", "patience", "min_steps", "seed")
        return {
            "what": "autoencoder",
            "autoencoder": describe(self.autoencoder),
            **({} if self.start is None else {"from": self.start}),
            "dataset": dataset_fingerprint(dataset),
            "images": len(dataset),
            # Without the memory address in the default `repr`, which differs in the process that resumes.
            "transform": None if transform is None else re.sub(r" at 0x[0-9a-fA-F]+", "", repr(transform)),
            **{name: getattr(self, name) for name in names},
            **({} if self.precision == "auto" else {"precision": self.precision}),
        }
