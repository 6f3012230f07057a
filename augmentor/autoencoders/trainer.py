"""`AutoencoderTrainer`: any autoencoder, any data set, exactly resumable."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .._internal.batches import BatchStream
from .._internal.checks import check_range, to_unit_float
from .._internal.datasets import dataset_fingerprint, fetch
from .._internal.engine import PRECISIONS
from .._internal.files import absolute_path
from .._internal.geometry import move_each
from .._internal.pictures import grid, png
from .._internal.progress import progress_bar
from .._internal.random import fold, seeded, torch_generator
from .._internal.registry import describe
from .._internal.run import Run
from .._internal.weights import OF_AUTOENCODER, save_network
from ..exceptions import DataError, InputError, TrainingError
from .adapters import AdaptedAutoencoder
from .base import Autoencoder

# Validation, history and checkpoint come once an epoch, but not more often than this many steps.
_MIN_ROUND = 100


@dataclass
class _Best:
    """The best weights so far, their validation loss, and the number of rounds since then without a better one."""

    best: dict[str, Any]
    best_loss: float = math.inf
    stale: int = 0

    def offer(self, model: Autoencoder, loss: float, *, always: bool) -> None:
        """Take the weights of the model if the loss is lower than the best, or `always`."""
        if always or loss < self.best_loss:
            self.best, self.best_loss, self.stale = copy.deepcopy(model.state_dict()), loss, 0
        else:
            self.stale += 1


class AutoencoderTrainer:
    """AdamW with warm-up and cosine decay; the weights with the best validation loss are kept.

    autoencoder: trained in place.
    out: a folder for `model.safetensors`, `history.jsonl`, `reconstructions.png` and the checkpoint; a run that was
        stopped there goes on where it was and ends with the same weights. None keeps nothing.
    epochs, batch_size, lr, weight_decay: of AdamW. warmup: the share of steps over which the rate rises.
    val_fraction: share of the data held out to choose the best weights and to stop early; 0 uses all of it to train
        and keeps the last weights.
    patience: rounds without a better validation loss before stopping; a round is an epoch, or 100 steps if longer.
    transform: applied to each training image (uint8 or float tensor (C,H,W)), as torchvision transforms are. It runs
        with the global torch generator set aside and restored, so that a resumed run draws the same.
    seed: decides split, order, noise and transform. device: where to train.
    precision: "fp32" or "bf16" (autocast); "auto" is bf16 on CUDA. A CPU with AMX is 3 times as fast in bf16.

    >>> from augmentor.autoencoders import get_autoencoder
    >>> from augmentor.data import load_source
    >>> trainer = AutoencoderTrainer(get_autoencoder("vae").example(), epochs=1, progress=False)
    >>> trainer.fit(load_source("digits")).stats.fitted
    tensor(True)
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        *,
        out: str | Path | None = None,
        epochs: int = 50,
        batch_size: int = 128,
        lr: float = 2e-3,
        weight_decay: float = 1e-4,
        warmup: float = 0.05,
        val_fraction: float = 0.1,
        patience: int = 10,
        transform: Callable[[Any], Any] | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        precision: str = "auto",
        progress: bool = True,
    ):
        if epochs < 1 or batch_size < 1 or not lr > 0 or patience < 1:
            raise InputError(
                "epochs, batch_size and patience are at least 1 and lr is positive; "
                f"got epochs={epochs}, batch_size={batch_size}, patience={patience} and lr={lr}"
            )
        if not 0 <= val_fraction < 1 or not 0 <= warmup <= 1:
            raise InputError(f"val_fraction and warmup are shares below 1, got {val_fraction} and {warmup}")
        if precision not in ("auto", *PRECISIONS):
            raise InputError(f"precision is auto, {' or '.join(PRECISIONS)}, got {precision!r}")
        if isinstance(autoencoder, AdaptedAutoencoder):
            raise InputError(
                f"AutoencoderTrainer trains autoencoders of this package, got an adapted one ({autoencoder.name}); "
                "train it where it comes from"
            )
        self.autoencoder = autoencoder.requires_grad_(True)
        self.out = None if out is None else absolute_path(out)
        self.epochs, self.batch_size = epochs, batch_size
        self.lr, self.weight_decay, self.warmup = lr, weight_decay, warmup
        self.val_fraction, self.patience = val_fraction, patience
        self.transform, self.seed, self.progress = transform, seed, progress
        self.device = torch.device(device)
        self.precision = precision
        self.history: list[dict[str, Any]] = []

    def fit(self, dataset: Any) -> Autoencoder:
        """Train on a map-style data set of images or `(image, label)`; returns the autoencoder in eval mode.

        Raises `TrainingError` when the loss is not finite; the last good checkpoint stays.
        """
        model = self.autoencoder.to(self.device)
        train, held_out = self._split(len(dataset))
        self._check_fits(dataset)
        stream = BatchStream(dataset, train, min(self.batch_size, len(train)), self.seed)
        run = Run(self.out, self._settings(dataset))
        optimizer = torch.optim.AdamW(model.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        step, best = self._resumed(run, optimizer)
        total = self.epochs * stream.steps_per_epoch
        round_steps = max(stream.steps_per_epoch, _MIN_ROUND)
        with progress_bar(total=total, initial=step, desc=f"train {model.name}", show=self.progress) as bar:
            while step < total and best.stale < self.patience:
                steps = range(step, min(total, step + round_steps))
                losses = self._train(optimizer, stream, steps, total, bar)
                step = steps.stop
                val_loss = self._validation_loss(dataset, held_out) if len(held_out) else sum(losses.values())
                if not math.isfinite(val_loss):
                    raise TrainingError(self._diverged(val_loss, step))
                best.offer(model, val_loss, always=not len(held_out))
                bar.set_postfix(loss=f"{sum(losses.values()):.4f}", val=f"{val_loss:.4f}", refresh=False)
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, **vars(best)}
                epoch = round(step / stream.steps_per_epoch, 3)
                run.save(state, {"step": step, "epoch": epoch, "val_loss": val_loss, **losses})
        model.load_state_dict(best.best)
        model.eval()
        self._fit_stats(dataset, train)
        self._write_results(run, dataset, held_out if len(held_out) else train, best.best_loss)
        self.history = run.history
        return model

    def _resumed(self, run: Run, optimizer: torch.optim.Optimizer) -> tuple[int, _Best]:
        """The step to go on from, and the best weights so far, as the last round left them."""
        state = run.load()
        if state is None:
            return 0, _Best(copy.deepcopy(self.autoencoder.state_dict()))
        self.autoencoder.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        return state["step"], _Best(state["best"], state["best_loss"], state["stale"])

    def _train(
        self, optimizer: torch.optim.Optimizer, stream: BatchStream, steps: range, total: int, bar: Any
    ) -> dict[str, float]:
        """One round: train for these steps of `total`; returns the mean of each named loss."""
        self.autoencoder.train()
        means: dict[str, float] = {}
        for step in steps:
            for name, value in self._step(optimizer, stream, step, total).items():
                means[name] = means.get(name, 0.0) + value / len(steps)
            bar.update()
        return means

    def _step(self, optimizer: torch.optim.Optimizer, stream: BatchStream, step: int, total: int) -> dict[str, float]:
        images = self._training_batch(stream, step)
        for group in optimizer.param_groups:
            group["lr"] = self.lr * _schedule(step, total, self.warmup)
        generator = torch_generator(self.device, self.seed, "noise", step)
        bf16 = self.device.type == "cuda" if self.precision == "auto" else self.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            losses = self.autoencoder.training_losses(images, generator, progress=step / total)
            loss = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(loss):
            raise TrainingError(self._diverged(float(loss.detach()), step))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.autoencoder.parameters(), 1.0)
        if not torch.isfinite(norm):
            raise TrainingError(self._diverged(float(norm), step, "gradient"))
        optimizer.step()
        return {name: float(value.detach()) for name, value in losses.items()}

    def _diverged(self, value: float, step: int, what: str = "loss") -> str:
        return (
            f"the {what} became {value} at step {step}; the last good checkpoint is kept: "
            f"try a lower rate than lr={self.lr}"
        )

    def _training_batch(self, stream: BatchStream, step: int) -> torch.Tensor:
        images, _ = fetch(stream.dataset, stream.indices(step).tolist())
        check_range(images, "AutoencoderTrainer")
        if self.transform is None:
            return to_unit_float(images.to(self.device, non_blocking=True))
        with seeded(self.seed, "transform", step):
            images = move_each(self.transform, images)
        return to_unit_float(images.to(self.device)).clamp(0, 1)

    @torch.no_grad()
    def _validation_loss(self, dataset: Any, members: np.ndarray) -> float:
        self.autoencoder.eval()
        generator = torch_generator(self.device, self.seed, "validation")
        total = 0.0
        for images in self._batches(dataset, members):
            losses = self.autoencoder.training_losses(to_unit_float(images), generator)
            total += float(torch.stack(list(losses.values())).sum()) * len(images)
        return total / len(members)

    @torch.no_grad()
    def _fit_stats(self, dataset: Any, members: np.ndarray) -> None:
        """Fit the statistics that standardise latents."""
        model = self.autoencoder
        batches = self._batches(dataset, members, "latent statistics")
        model.stats.fit(model.encode(images).mean for images in batches)

    @torch.no_grad()
    def _write_results(self, run: Run, dataset: Any, members: np.ndarray, loss: float) -> None:
        """Write a picture of images and their reconstructions, and the weights."""
        images, _ = fetch(dataset, members[:12].tolist())
        run.write("reconstructions.png", png(grid([images, self.autoencoder(images.to(self.device))])))
        weights = run.path(OF_AUTOENCODER)
        if weights is not None:
            save_network(self.autoencoder, weights, {"loss": loss, "images": len(dataset), "seed": self.seed})

    def _batches(self, dataset: Any, members: np.ndarray, doing: str | None = None) -> Iterator[torch.Tensor]:
        starts, show = range(0, len(members), 256), self.progress and doing is not None
        for start in progress_bar(starts, desc=doing, unit="batch", leave=False, show=show):
            yield fetch(dataset, members[start : start + 256].tolist())[0].to(self.device)

    def _split(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Indices to train on and to validate on; the latter none if `val_fraction` is 0."""
        if count < 2:
            raise DataError(f"training takes at least 2 images, got {count}")
        order = np.random.Generator(np.random.Philox(fold(self.seed, "split"))).permutation(count)
        held_out = min(count - 1, math.ceil(self.val_fraction * count))
        return order[held_out:], order[:held_out]

    def _check_fits(self, dataset: Any) -> None:
        images, _ = fetch(dataset, range(min(self.batch_size, len(dataset))))
        check_range(images, "AutoencoderTrainer")
        with torch.no_grad():
            self.autoencoder.encode(images[:1].to(self.device))

    def _settings(self, dataset: Any) -> dict[str, Any]:
        names = ("epochs", "batch_size", "lr", "weight_decay", "warmup", "val_fraction", "patience", "seed")
        return {
            "what": "autoencoder",
            "autoencoder": describe(self.autoencoder),
            "dataset": dataset_fingerprint(dataset),
            "images": len(dataset),
            # Without the place in memory that the usual `repr` ends with: it differs in the process that resumes.
            "transform": None if self.transform is None else re.sub(r" at 0x[0-9a-fA-F]+", "", repr(self.transform)),
            **{name: getattr(self, name) for name in names},
            **({} if self.precision == "auto" else {"precision": self.precision}),
        }


def _schedule(step: int, total: int, warmup: float) -> float:
    """Linear rise over the first share `warmup` of the steps, then half a cosine down to 1 % of the rate."""
    rise = max(1, round(warmup * total))
    if step < rise:
        return (step + 1) / rise
    done = (step - rise) / max(1, total - rise)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))
