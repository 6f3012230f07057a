"""The autoencoders of a run of `tune`: one for all cells, or one per cell, trained on its training part only."""

from __future__ import annotations

import contextlib
import copy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .._internal.datasets import fetch, some_images
from .._internal.random import seeded
from .._internal.weights import fingerprint
from ..autoencoders import Autoencoder, autoencoders, list_autoencoders, load_autoencoder
from ..autoencoders.augmenter import AUTO
from ..autoencoders.pretrained import fitting_autoencoder, full_name
from ..autoencoders.trainer import AutoencoderTrainer
from ..denoisers import get_denoiser
from ..exceptions import InputError
from ..policies import Denoise, get_policy
from ..transform import LatentAugment
from .datasets import Until
from .estimate import seconds_each

Train = Callable[[Any], Autoencoder]

_STEPS, _BATCH = 1200, 64
# Strengths of the policy `denoise`; the first is tried first.
_STRENGTHS = (0.4, 0.2, 0.6)


@dataclass(frozen=True)
class FromScratch:
    """Training of the autoencoder for a string such as ``"vae(latent_dim=16)"``, with settings for few images.

    transform: transform of the training images, or None. seed: seed of weights, order and transform.
    """

    spec: str
    transform: Any = None
    seed: int = 0
    device: str = "cpu"

    def untrained(self, dataset: Any) -> Autoencoder:
        """Return an autoencoder with random weights for the shape of these images; raises errors of the registry."""
        shape = tuple(fetch(dataset, [0])[0].shape[1:])
        with seeded(self.seed, "init"):
            return autoencoders.build(self.spec, image_shape=shape, channels=shape[0])

    def __call__(self, dataset: Any) -> Autoencoder:
        return self._trained(dataset, _STEPS)

    def sketch(self, few: Any, count: int) -> tuple[Autoencoder, float]:
        """Return an autoencoder after one training step, and the estimated seconds of training on `count` images."""
        # 1 s, so that the time before and after the steps is negligible.
        seconds = seconds_each(lambda steps: self._trained(few, steps), enough=1.0)
        return self._trained(few, 1).eval(), seconds * _STEPS * min(1.0, count / _BATCH) / min(1.0, len(few) / _BATCH)

    def _trained(self, dataset: Any, steps: int) -> Autoencoder:
        trainer = AutoencoderTrainer(
            self.untrained(dataset), steps=steps, batch_size=_BATCH, val_fraction=0, transform=self.transform,
            seed=self.seed, device=self.device, progress=False,
        )  # fmt: skip
        return trainer.fit(dataset)


class Autoencoders:
    """Autoencoders of the cells, in memory and, if there is a folder, on the disk.

    source: a pretrained name, the path of a weights file or an `Autoencoder`, which is used for every cell; or a
        callable ``dataset -> Autoencoder``, which is called with the training part of a cell only.
    """

    def __init__(self, source: str | Path | Autoencoder | Train, folder: Path | None, device: str):
        self.folder, self.device = folder, device
        self.place = full_name(source) if isinstance(source, (str, Path)) else None
        self.train: Train | None = None
        self._given: Autoencoder | None = None
        self._denoiser: str | None = None
        self._trained: dict[str, Autoencoder] = {}
        self._whole: Autoencoder | None = None
        if isinstance(source, Autoencoder):
            self._given = source
        elif isinstance(source, (str, Path)):
            self._given = load_autoencoder(source)
        elif callable(source):
            self.train = source
        else:
            raise InputError(
                f"autoencoder must be a pretrained name, a .safetensors path, a string such as 'vae(latent_dim=16)', "
                f"an Autoencoder or a callable dataset -> Autoencoder; got {source!r}"
            )

    def get(self, name: str, dataset: Any) -> Autoencoder:
        """Return the autoencoder for the cell of this name; if there is none yet, train it on `dataset`."""
        if self._given is not None:
            return self._given.to(self.device)
        if name not in self._trained:
            path = self._path(name)
            if path is not None and path.exists():
                self._trained[name] = load_autoencoder(path)
            else:
                self.make(name, dataset)
        return self._trained[name].to(self.device)

    def whole(self, dataset: Any, unlabelled: Any = None) -> Autoencoder:
        """Return the autoencoder for all data, trained on `dataset` if necessary; fit missing latent statistics."""
        if self._whole is None:
            self._whole = self.get("all", dataset)
            if not self._whole.stats.fitted:
                copied = LatentAugment(copy.deepcopy(self._whole))
                self._whole = copied.fit(dataset, unlabelled=unlabelled).autoencoder
        return self._whole

    @property
    def can_sketch(self) -> bool:
        """Whether the time of training can be estimated; it cannot for a callable of the user."""
        return self.train is None or isinstance(self.train, FromScratch)

    def sketch(self, few: Any, count: int) -> tuple[Autoencoder, float]:
        """Return an autoencoder of the speed of the others, and the seconds that training on `count` images takes."""
        if isinstance(self.train, FromScratch):
            return self.train.sketch(few, count)
        assert self._given is not None
        return self._given.to(self.device), 0.0

    def make(self, name: str, dataset: Any, deadline: float | None = None) -> None:
        """Train the autoencoder of this name and store it; raise `BudgetError` at the deadline."""
        assert self.train is not None
        model = self._trained[name] = self.train(dataset if deadline is None else Until(dataset, deadline)).eval()
        path = self._path(name)
        if path is not None:
            with contextlib.suppress(InputError):  # an adapted model that cannot be saved is trained again
                model.save(path)

    def denoising(self, denoiser: str | None, classes: Sequence[str]) -> list[str]:
        """Return the policies `denoise` with this denoiser at several strengths; none if it is None.

        classes: names of the classes. Raises `InputError` for a denoiser that does not fit the autoencoder.
        """
        if denoiser is None:
            return []
        if self._given is None:
            raise InputError(
                f"denoiser {denoiser} fits the latents of one autoencoder, but here one is trained for each fold; name "
                "the autoencoder that the denoiser was trained with"
            )
        policies = [Denoise(get_denoiser(denoiser, classes), strength) for strength in _STRENGTHS]
        policies[0].check_autoencoder(self._given)
        self._denoiser = fingerprint(policies[0].tensors())
        return list(map(str, policies))

    def usable(self, policies: Sequence[str], image: torch.Tensor) -> list[str]:
        """Return the policies that the autoencoder supports; image: (1,C,H,W), which must fit the autoencoder."""
        if self._given is None:
            # Unknown before training. A policy that needs a posterior std raises an error if there is none. On vectors,
            # which most autoencoders have as latents, `smooth` equals `gaussian`.
            return [text for text in policies if not text.startswith("smooth")]
        with torch.no_grad():
            mean, std = self._given.encode(image.to(self._given.device))
        fits = {"posterior": std is not None, "smooth": mean.ndim > 2}
        return [text for text in policies if fits.get(get_policy(text).name, True)]

    def settings(self) -> str:
        """Return a string that identifies the autoencoder, and the denoiser if there is one."""
        if self._given is None:
            return named(self.train)
        return fingerprint(self._given.state_dict()) + (f" with denoiser {self._denoiser}" if self._denoiser else "")

    def kept(self, dataset: Any, unlabelled: Any = None) -> dict[str, Any]:
        """Return the entries of `policy.json` about the autoencoder for all data (see `whole`).

        They are its name, fingerprint and, if the named weights do not contain them, latent statistics. Weights other
        than pretrained ones are saved in the folder. Without a folder, or for an adapted model that cannot be saved,
        the name is that of the source, or None.
        """
        model = self.whole(dataset, unlabelled)
        name, brings = self.place, self._given is model
        if self.folder is not None and self.place not in list_autoencoders():
            with contextlib.suppress(InputError):
                model.save(self.folder / "autoencoder.safetensors")
                name, brings = "autoencoder.safetensors", True
        statistics = None if name is not None and brings else model.stats.values()
        return {"autoencoder": name, "autoencoder_sha256": fingerprint(model.state_dict()), "statistics": statistics}

    def _path(self, name: str) -> Path | None:
        return None if self.folder is None else self.folder / "autoencoders" / f"{name}.safetensors"


def placeless(value: Any) -> str:
    """Return the `repr` without memory addresses, which differ in the process that resumes."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def named(function: Any) -> str:
    """Return the name of a function or class, or the `repr` of another object."""
    return str(getattr(function, "__qualname__", None) or placeless(function))


def resolve(source: Any, dataset: Any, transform: Any, seed: int, device: str) -> Any:
    """Return `FromScratch` for a family, such as the string ``"vae(latent_dim=16)"``, and a name for ``"auto"``.

    Other sources are unchanged.
    """
    if isinstance(source, str) and source == AUTO:
        return fitting_autoencoder(some_images(dataset))
    if isinstance(source, str) and source not in list_autoencoders() and not source.endswith(".safetensors"):
        family = source.partition("(")[0].strip()
        if "(" in source or family in autoencoders.names():
            scratch = FromScratch(source, transform, seed, device)
            scratch.untrained(dataset)  # raises errors in the string before any training
            return scratch
    return source
