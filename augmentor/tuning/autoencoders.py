"""Where a race's autoencoders come from: one for all, or one trained on each cell's training part alone."""

from __future__ import annotations

import contextlib
import copy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .._internal.datasets import fetch
from .._internal.random import seeded
from .._internal.weights import fingerprint
from ..autoencoders import Autoencoder, autoencoders, list_autoencoders, load_autoencoder
from ..autoencoders.pretrained import full_name
from ..autoencoders.trainer import AutoencoderTrainer
from ..denoisers import get_denoiser
from ..exceptions import InputError
from ..policies import Denoise, get_policy
from ..transform import LatentAugment
from .datasets import Until
from .estimate import seconds_each

Train = Callable[[Any], Autoencoder]

_STEPS, _BATCH = 1200, 64
# Of `denoise`; the first is tried first.
_STRENGTHS = (0.4, 0.2, 0.6)


@dataclass(frozen=True)
class FromScratch:
    """Trains the autoencoder that a text such as ``"vae(latent_dim=16)"`` describes, as few images need it.

    transform: of the training images, such as the geometry. seed: decides weights, order and transform.
    """

    spec: str
    transform: Any = None
    seed: int = 0
    device: str = "cpu"

    def untrained(self, dataset: Any) -> Autoencoder:
        """One for images of the size that these have; raises what the registry does for a text that fits none."""
        shape = tuple(fetch(dataset, [0])[0].shape[1:])
        with seeded(self.seed, "init"):
            return autoencoders.build(self.spec, image_shape=shape, channels=shape[0])

    def __call__(self, dataset: Any) -> Autoencoder:
        return self._trained(dataset, _STEPS)

    def sketch(self, few: Any, count: int) -> tuple[Autoencoder, float]:
        """One that has seen a few images for a moment, and about how many seconds training on `count` images takes."""
        # Long enough for what comes before and after the steps not to count.
        seconds = seconds_each(lambda steps: self._trained(few, steps), enough=1.0)
        return self._trained(few, 1).eval(), seconds * _STEPS * min(1.0, count / _BATCH) / min(1.0, len(few) / _BATCH)

    def _trained(self, dataset: Any, steps: int) -> Autoencoder:
        trainer = AutoencoderTrainer(
            self.untrained(dataset), steps=steps, batch_size=_BATCH, val_fraction=0, transform=self.transform,
            seed=self.seed, device=self.device, progress=False,
        )  # fmt: skip
        return trainer.fit(dataset)


class Autoencoders:
    """The autoencoder of each cell, in memory and, where there is a folder, on the disk.

    source: a pretrained name, the path of a weights file or an `Autoencoder`: it serves every cell, whatever it has
        seen. A callable ``dataset -> Autoencoder``: called with the cell's training part alone.
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
                f"autoencoder is a pretrained name, a .safetensors path, a text such as 'vae(latent_dim=16)', an "
                f"Autoencoder or a callable dataset -> Autoencoder; got {source!r}"
            )

    def get(self, name: str, dataset: Any) -> Autoencoder:
        """The autoencoder for the cell of this name, trained on `dataset` if it is not there yet."""
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
        """The one for all data, trained on `dataset` if need be, with latent statistics of all if it brings none."""
        if self._whole is None:
            self._whole = self.get("all", dataset)
            if not self._whole.stats.fitted:
                copied = LatentAugment(copy.deepcopy(self._whole))
                self._whole = copied.fit(dataset, unlabelled=unlabelled).autoencoder
        return self._whole

    @property
    def can_sketch(self) -> bool:
        """Whether training can be tried out: what a callable of one's own takes is not known beforehand."""
        return self.train is None or isinstance(self.train, FromScratch)

    def sketch(self, few: Any, count: int) -> tuple[Autoencoder, float]:
        """One as fast as those of the cells, and about how many seconds training one on `count` images takes."""
        if isinstance(self.train, FromScratch):
            return self.train.sketch(few, count)
        assert self._given is not None
        return self._given.to(self.device), 0.0

    def make(self, name: str, dataset: Any, deadline: float | None = None) -> None:
        """Train one, and keep it; `BudgetError` at the deadline."""
        assert self.train is not None
        model = self._trained[name] = self.train(dataset if deadline is None else Until(dataset, deadline)).eval()
        path = self._path(name)
        if path is not None:
            with contextlib.suppress(InputError):  # an adapted model that no file can hold is made again
                model.save(path)

    def denoising(self, denoiser: str | None, classes: Sequence[str]) -> list[str]:
        """The policies `denoise` with this denoiser (None: without one), each of another strength.

        classes: their names, for its text. Raises `InputError` for a denoiser that does not fit the autoencoder.
        """
        if denoiser is None:
            return []
        if self._given is None:
            raise InputError(
                f"denoiser {denoiser} fits the latents of one autoencoder, and here one is trained for each fold; name "
                "the autoencoder that it was trained with"
            )
        policies = [Denoise(get_denoiser(denoiser, classes), strength) for strength in _STRENGTHS]
        policies[0].check_autoencoder(self._given)
        self._denoiser = fingerprint(policies[0].tensors())
        return list(map(str, policies))

    def usable(self, policies: Sequence[str], image: torch.Tensor) -> list[str]:
        """Those of the policies that they can serve, told from one image (1,C,H,W); also checks that images fit."""
        if self._given is None:
            # Not known before it is trained. A policy that needs a posterior std will say so; on vectors, which most
            # autoencoders have, `smooth` is `gaussian`.
            return [text for text in policies if not text.startswith("smooth")]
        with torch.no_grad():
            mean, std = self._given.encode(image.to(self._given.device))
        fits = {"posterior": std is not None, "smooth": mean.ndim > 2}
        return [text for text in policies if fits.get(get_policy(text).name, True)]

    def settings(self) -> str:
        """What it is, for the record."""
        if self._given is None:
            return named(self.train)
        return fingerprint(self._given.state_dict()) + (f" with denoiser {self._denoiser}" if self._denoiser else "")

    def kept(self, dataset: Any, unlabelled: Any = None) -> dict[str, Any]:
        """What `policy.json` says of the autoencoder: its name and fingerprint.

        It is the one for all data, trained on `dataset` if need be. Weights without a name are kept beside the JSON.
        Where there is no folder, or an adapted model that no file can hold, it is where they came from, if anywhere,
        with the latent statistics that they do not bring.
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
    """Its `repr` without the place in memory, which differs in the process that resumes."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def named(function: Any) -> str:
    """The name of a function or class, or else what it looks like."""
    return str(getattr(function, "__qualname__", None) or placeless(function))


def resolve(source: Any, dataset: Any, transform: Any, seed: int, device: str) -> Any:
    """A text such as ``"vae"`` or ``"vae(latent_dim=16)"`` that names a family => `FromScratch`; others pass."""
    if isinstance(source, str) and source not in list_autoencoders() and not source.endswith(".safetensors"):
        family = source.partition("(")[0].strip()
        if "(" in source or family in autoencoders.names():
            scratch = FromScratch(source, transform, seed, device)
            scratch.untrained(dataset)  # a text that cannot be built is refused before anything is trained
            return scratch
    return source
