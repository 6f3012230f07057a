"""`GANTrainer`: any generator, discriminator and loss, with latent augmentation that need not leak."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from .._random import SampleRandom, fold, torch_generator
from .._registry import describe
from .._weights import fingerprint, save_network
from ..exceptions import DataError, InputError, TrainingError
from ..gan import Discriminator, GANLoss, Generator, get_loss, r1_penalty
from ..items import batches, dataset_fingerprint, dataset_labels, fetch
from ..metrics import compare, extract
from ..pictures import grid, png
from ..transform import LatentAugment
from ._batches import BatchStream
from ._gan_augment import Batch, GANAugmentation, batch_keys, gan_augmentations
from ._run import Run

# Features of at most so many real and generated images are compared when the run is judged, and at least so many.
_JUDGED, _FEWEST_JUDGED = 2000, 10
_GRID = 10


class GANTrainer:
    """Adam on both networks, an averaged generator, and the best snapshot by FID.

    generator, discriminator: trained in place; conditional if built with `num_classes`. loss: a text such as "hinge"
        or "wgan_gp(weight=5)", or a `GANLoss`.
    augment: "none", "real" (decoded samples join the real ones) or "both" (the same differentiable operation on real
        and generated images). The last two need `latent_augment`, whose `p` holds for "both".
    ratio: decoded samples for each real one, with "real".
    r1_gamma: weight of the R1 penalty, computed every `r1_every` steps and scaled up by as much; 0 leaves it out. None
        is what goes with the loss: 0 for "wgan_gp", 1 for the others.
    discriminator_steps: for each step of the generator. ema_decay: of the averaged generator.
    features: an extractor as `augmentor.metrics` takes it, to measure FID, KID, precision and recall every
        `round_steps` steps; None measures nothing and keeps the last generator as the best.
    out: a folder for `generator.safetensors` (averaged, last), `best.safetensors` (lowest FID), `history.jsonl`, sample
        grids and the checkpoint; a run that was stopped there goes on and ends with the same weights.

    Raises `TrainingError` when a loss is not finite; the last good checkpoint stays.

    >>> from augmentor.data.sources import load_source
    >>> from augmentor.gan import get_discriminator, get_generator
    >>> networks = get_generator("dcgan").example(), get_discriminator("dcgan").example()
    >>> trainer = GANTrainer(*networks, steps=2, batch_size=8, progress=False)
    >>> generator = trainer.fit(load_source("digits"))
    >>> [row["step"] for row in trainer.history]
    [2]
    """

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        loss: str | GANLoss = "nonsaturating",
        *,
        augment: str = "none",
        latent_augment: LatentAugment | None = None,
        ratio: float = 1.0,
        steps: int = 5000,
        batch_size: int = 64,
        lr: float = 2e-4,
        r1_gamma: float | None = None,
        r1_every: int = 4,
        discriminator_steps: int = 1,
        ema_decay: float = 0.995,
        features: Callable[[torch.Tensor], torch.Tensor] | None = None,
        round_steps: int = 500,
        out: str | Path | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        progress: bool = True,
    ):
        counts = {"steps": steps, "batch_size": batch_size, "round_steps": round_steps, "r1_every": r1_every}
        for name, value in {**counts, "discriminator_steps": discriminator_steps}.items():
            if value < 1:
                raise InputError(f"{name} is at least 1, got {value}")
        r1_gamma = get_loss(loss).r1_gamma if r1_gamma is None else r1_gamma
        if not lr > 0 or not r1_gamma >= 0 or not 0 <= ema_decay < 1 or not 0 <= ratio < math.inf:
            raise InputError(
                "lr is positive, r1_gamma and ratio are not negative and ema_decay is below 1; "
                f"got {lr}, {r1_gamma}, {ratio} and {ema_decay}"
            )
        if generator.image_shape != discriminator.image_shape or generator.num_classes != discriminator.num_classes:
            raise InputError(
                f"the generator makes {generator.image_shape} images of {generator.num_classes} classes and the "
                f"discriminator takes {discriminator.image_shape} of {discriminator.num_classes}; build them alike"
            )
        self.generator, self.discriminator, self.loss = generator, discriminator, get_loss(loss)
        self.augmentation = _augmentation(augment, latent_augment, ratio)
        self.latent_augment = latent_augment
        self.steps, self.batch_size, self.lr = steps, batch_size, lr
        self.r1_gamma, self.r1_every, self.discriminator_steps = r1_gamma, r1_every, discriminator_steps
        self.ema_decay, self.features, self.round_steps = ema_decay, features, round_steps
        self.out, self.seed, self.device, self.progress = out, seed, torch.device(device), progress
        self.history: list[dict[str, Any]] = []

    def fit(self, dataset: Any, reference: Any = None) -> Generator:
        """Train on a map-style data set of images or `(image, label)`; returns the averaged generator.

        reference: real images to measure against, where they are not those of `dataset`.
        """
        judged = dataset if reference is None else reference
        self._check_fits(dataset, judged)
        run = Run(self.out, self._settings(dataset))
        stream = BatchStream(dataset, np.arange(len(dataset)), min(self.batch_size, len(dataset)), self.seed)
        generator, discriminator = (
            network.to(self.device).train().requires_grad_(True) for network in self._networks()
        )
        if self.latent_augment is not None:
            self.latent_augment.to(self.device)
        averaged = AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(self.ema_decay))
        optimizer_g, optimizer_d = (
            torch.optim.Adam(network.parameters(), lr=self.lr, betas=(0.0, 0.99)) for network in self._networks()
        )

        # Where to go on: nothing, or all that the last round left.
        stateful: dict[str, Any] = {
            "generator": generator,
            "discriminator": discriminator,
            "averaged": averaged,
            "optimizer_g": optimizer_g,
            "optimizer_d": optimizer_d,
        }
        step, best_fid = 0, math.inf
        state = run.load()
        if state is not None:
            for name, part in stateful.items():
                part.load_state_dict(state[name])
            step, best_fid = state["step"], state["best_fid"]

        real_features = self._real_features(judged)
        bar = tqdm(total=self.steps, initial=step, desc=f"train gan ({self.augmentation.name})", delay=2,
                   disable=not self.progress)  # fmt: skip
        while step < self.steps:
            # One round: the discriminator's steps and the generator's, in turn.
            end = min(self.steps, (step // self.round_steps + 1) * self.round_steps)
            sums = torch.zeros(4, device=self.device)
            steps = end - step
            while step < end:
                for turn in range(self.discriminator_steps):
                    d_loss, real_sign = self._discriminator_step(optimizer_d, stream, step, turn)
                g_loss, fake_sign = self._generator_step(optimizer_g, stream, step)
                averaged.update_parameters(generator)
                sums += torch.stack([d_loss, g_loss, real_sign, fake_sign]) / steps
                step += 1
                bar.update()

            # Judge it, keep the best, leave a trace.
            names = ("d_loss", "g_loss", "real_sign", "fake_sign")
            row: dict[str, Any] = {"step": step, **dict(zip(names, sums.tolist(), strict=True))}
            if not all(math.isfinite(value) for value in row.values()):
                raise self._diverged(
                    f"a loss became {row['d_loss']} (discriminator), {row['g_loss']} (generator) before step {step}"
                )
            if not self._sound(averaged.module):
                raise self._diverged(f"the weights or the generated images are no longer finite at step {step}")
            if real_features is not None:
                row |= self._scores(averaged.module, real_features)
            if row.get("fid", -math.inf) < best_fid:
                best_fid = row.get("fid", math.inf)
                self._save(run, "best.safetensors", averaged.module, row)
            run.write(f"samples/step-{step:07d}.png", png(self._sample_grid(averaged.module)))
            shown = {name: f"{row[name]:.3f}" for name in ("d_loss", "g_loss", "fid") if name in row}
            bar.set_postfix(shown, refresh=False)
            run.save(
                {**{k: part.state_dict() for k, part in stateful.items()}, "step": step, "best_fid": best_fid}, row
            )
        bar.close()

        self.history = run.history
        result: Any = copy.deepcopy(averaged.module).eval()
        self._save(run, "generator.safetensors", result, run.history[-1])
        return result

    def _discriminator_step(
        self, optimizer: torch.optim.Optimizer, stream: BatchStream, step: int, turn: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        number = step * self.discriminator_steps + turn
        images, labels = stream.batch(number, self.device)
        labels = labels if self.generator.num_classes else None
        chance = torch_generator(self.device, self.seed, "discriminator", number)
        with torch.no_grad():
            fakes = self._fakes(len(images), chance, labels)
        real, real_labels = self.augmentation.real(
            Batch(images, labels, batch_keys(self.seed, "real", number, stream.indices(number)))
        )
        fake = self.augmentation.fake(
            Batch(fakes, labels, batch_keys(self.seed, "fake", number, np.arange(len(fakes))))
        )

        real_logits = self.discriminator(real, real_labels)
        loss = self.loss.discriminator(real_logits, self.discriminator(fake, labels))
        loss = loss + self.loss.penalty(self._critic(real_labels), real, fake, chance)
        if self.r1_gamma and number % self.r1_every == 0:
            loss = loss + self.r1_gamma * self.r1_every * r1_penalty(self._critic(real_labels), real)
        _minimise(loss, optimizer)
        return loss.detach(), real_logits.detach().sign().mean()

    def _generator_step(
        self, optimizer: torch.optim.Optimizer, stream: BatchStream, step: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        number = (step + 1) * self.discriminator_steps - 1
        labels = stream.batch(number, self.device)[1] if self.generator.num_classes else None
        chance = torch_generator(self.device, self.seed, "generator", step)
        fakes = self._fakes(stream.batch_size, chance, labels)
        fake = self.augmentation.fake(
            Batch(fakes, labels, batch_keys(self.seed, "generator", step, np.arange(len(fakes))))
        )
        self.discriminator.requires_grad_(False)
        logits = self.discriminator(fake, labels)
        loss = self.loss.generator(logits)
        _minimise(loss, optimizer)
        self.discriminator.requires_grad_(True)
        return loss.detach(), logits.detach().sign().mean()

    def _fakes(self, count: int, chance: torch.Generator, labels: torch.Tensor | None) -> torch.Tensor:
        fakes = self.generator(self._noise(count, chance), labels)
        # Elsewhere looking would make the host wait; there the losses of the round tell.
        if fakes.device.type == "cpu" and not bool(fakes.isfinite().all()):
            raise self._diverged("the generated images are no longer finite")
        return fakes

    def _sound(self, averaged: torch.nn.Module) -> bool:
        """Whether all weights are finite, and what comes of them; a round's last step shows in none of its losses."""
        finite = [weight.detach().isfinite().all() for network in self._networks() for weight in network.parameters()]
        return bool(torch.stack(finite).all()) and bool(self.sample(averaged, _GRID).isfinite().all())

    def _diverged(self, what: str) -> TrainingError:
        return TrainingError(f"{what}; the last good checkpoint is kept: try a lower rate than lr={self.lr}")

    def _critic(self, labels: torch.Tensor | None) -> Callable[[torch.Tensor], torch.Tensor]:
        """The discriminator as a function of images alone, on as many of the labels as there are images."""
        return lambda images: self.discriminator(images, None if labels is None else labels[: len(images)])

    def _noise(self, count: int, generator: torch.Generator) -> torch.Tensor:
        return torch.randn(count, self.generator.latent_dim, generator=generator, device=self.device)

    @torch.no_grad()
    def sample(self, generator: torch.nn.Module, count: int, purpose: str = "samples") -> torch.Tensor:
        """`count` float images (count,C,H,W) on the CPU, classes in turn; the same ones at every call."""
        chance = torch_generator(self.device, self.seed, purpose)
        noise = self._noise(count, chance)
        classes = self.generator.num_classes
        labels = torch.arange(count, device=self.device) % classes if classes else None
        chunks = range(0, count, 256)
        return torch.cat(
            [generator(noise[i : i + 256], None if labels is None else labels[i : i + 256]).cpu() for i in chunks]
        )

    def _sample_grid(self, generator: torch.nn.Module) -> torch.Tensor:
        columns = self.generator.num_classes or _GRID
        images = self.sample(generator, columns * max(2, 60 // columns))
        return grid(images.split(columns))

    def _real_features(self, dataset: Any) -> torch.Tensor | None:
        if self.features is None:
            return None
        order = np.random.Generator(np.random.Philox(fold(self.seed, "judged"))).permutation(len(dataset))[:_JUDGED]
        images, _ = fetch(dataset, order.tolist())
        return extract(self.features, images, 256, self.device)

    def _scores(self, generator: torch.nn.Module, real_features: torch.Tensor) -> dict[str, float]:
        assert self.features is not None
        images = self.sample(generator, len(real_features), "judged")
        return compare(extract(self.features, images, 256, self.device), real_features, seed=self.seed)

    def _save(self, run: Run, name: str, generator: torch.nn.Module, row: dict[str, Any]) -> None:
        path = run.path(name)
        if path is not None:
            save_network(generator, path, row)

    def _networks(self) -> tuple[Generator, Discriminator]:
        return self.generator, self.discriminator

    def _check_fits(self, dataset: Any, judged: Any) -> None:
        """Raise on images or labels that the networks do not take, before anything is written."""
        if len(dataset) == 0:
            raise DataError("got an empty data set; expected at least one image")
        images, labels = fetch(dataset, [0])
        if tuple(images.shape[1:]) != tuple(self.generator.image_shape):
            raise InputError(
                f"the data has images {tuple(images.shape[1:])} and the networks take {self.generator.image_shape}; "
                "build them for this data, or resize it"
            )
        if self.generator.num_classes and (labels is None or labels.ndim != 1):
            raise InputError(
                "a conditional GAN takes class numbers, and the data has none; use num_classes=0 (--unconditional)"
            )
        if classes := self.generator.num_classes:
            known = dataset_labels(dataset)
            if not 0 <= int(known.min()) <= int(known.max()) < classes:
                raise InputError(
                    f"the networks know classes 0 to {classes - 1}, the data has others; raise num_classes"
                )
        augment = self.latent_augment
        if augment is not None and augment.needs_fit:
            # Without classes every sample may be a partner of every other.
            augment.fit(dataset if self.generator.num_classes else [(x, None) for x, _ in batches(dataset)])
        if self.augmentation.needs_augment:  # once in advance, so that what it refuses leaves nothing behind
            keys = batch_keys(self.seed, "check", 0, np.arange(1))
            random = SampleRandom(keys, self.augmentation.augment.device)
            self.augmentation.augment.perturb(images, labels if self.generator.num_classes else None, random)
        if self.features is not None:
            if len(judged) < _FEWEST_JUDGED:
                raise DataError(
                    f"measuring takes at least {_FEWEST_JUDGED} real images, got {len(judged)}; "
                    "give more, or features=None"
                )
            extract(self.features, fetch(judged, [0])[0], 1, self.device)

    def _settings(self, dataset: Any) -> dict[str, Any]:
        names = ("steps", "batch_size", "lr", "r1_gamma", "r1_every", "discriminator_steps", "ema_decay")
        augment = self.latent_augment
        return {
            "what": "gan",
            "generator": describe(self.generator),
            "discriminator": describe(self.discriminator),
            "loss": str(self.loss),
            "augment": self.augmentation.name,
            "autoencoder": None if augment is None else describe(augment.autoencoder),
            "autoencoder_sha256": None if augment is None else fingerprint(augment.autoencoder.state_dict()),
            "policy": None if augment is None else str(augment.policy),
            "p": None if augment is None else augment.p,
            "gate": None if augment is None or augment.gate is None else str(augment.gate),
            "pool": None if augment is None or augment.pool is None else fingerprint({"z": augment.pool.z}),
            "features": None if self.features is None else type(self.features).__name__,
            "dataset": dataset_fingerprint(dataset),
            "images": len(dataset),
            "round_steps": self.round_steps,
            "seed": self.seed,
            "ratio": self.augmentation.ratio,
            **{name: getattr(self, name) for name in names},
        }


def _augmentation(name: str, augment: LatentAugment | None, ratio: float) -> GANAugmentation:
    member = gan_augmentations.get(name)
    if member.needs_augment and augment is None:
        raise InputError(f"augment={name!r} needs latent_augment=LatentAugment(...)")
    if augment is not None and augment.policy.soft_classes(torch.zeros(1, 2), None) is not None:
        raise InputError(f"policy {augment.policy} mixes classes, which a GAN cannot use; choose one that keeps them")
    return member(augment, ratio)


def _minimise(loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
