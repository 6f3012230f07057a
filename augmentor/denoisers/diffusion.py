"""Denoiser with a diffusion model of latents without text: a network and a scheduler of diffusers."""

from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import Any

import torch

from .._internal.diffusers import full_place, installed, load_pipeline, model_line
from .._internal.random import SampleRandom
from ..exceptions import InputError
from ._base import Denoiser, Denoising, check_classes, denoisers, drawn_seeds, generators_of


@denoisers.register("diffusion")
class DiffusionDenoiser(Denoiser):
    """Denoiser with a `UNet2DModel` or a DiT, unconditional or class-conditional, and any scheduler of diffusers.

    source: a folder or repository of a pipeline that has such a network (`unet` or `transformer`) and a `scheduler`,
        such as a `DDPMPipeline` or `DiTPipeline`; or a pipeline object, which has no string form.

    revision: branch, tag or commit of the repository.

    The network must have been trained on raw latents of the autoencoder; only the number of channels is checked.
    Guidance needs a network that was trained with a class for "no class", such as a DiT.

    Raises `InputError` for a pipeline without these parts, `WeightsError` for one that cannot be read.

    >>> from diffusers import DDIMScheduler, DDPMPipeline, UNet2DModel
    >>> blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    >>> network = UNet2DModel(in_channels=4, out_channels=4, block_out_channels=(8, 8), norm_num_groups=4, **blocks)
    >>> DiffusionDenoiser(DDPMPipeline(network, DDIMScheduler())).conditional
    False
    """

    def __init__(self, source: Any, revision: str | None = None):
        live = not isinstance(source, (str, Path))
        self.revision = revision
        self.source = f"<{type(source).__name__}>" if live else full_place(source)
        pipeline = source if live else self._loaded()
        network = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
        if network is None or getattr(pipeline, "scheduler", None) is None or hasattr(pipeline, "text_encoder"):
            raise InputError(
                f"the denoiser diffusion(...) takes a pipeline with a network, a scheduler and no text encoder, got "
                f"{type(pipeline).__name__}; for a pipeline with text use the denoiser diffusers(...)"
            )
        self.network: Any = network.requires_grad_(False).eval()
        self.scheduler = pipeline.scheduler
        config = self.network.config
        self.num_classes = int(config.get("num_embeds_ada_norm") or config.get("num_class_embeds") or 0)
        # A DiT has an additional embedding for "no class".
        self._knows_none = "num_embeds_ada_norm" in config
        self.conditional = self.num_classes > 0

    def check_autoencoder(self, autoencoder: Any) -> None:
        wanted, given = self.network.config.in_channels, autoencoder.latent_shape
        if len(given) != 3 or given[0] != wanted:
            raise InputError(
                f"the network of {self.source} takes latents of {wanted} channels, and autoencoder "
                f"{autoencoder.name!r} has latents {given}; use the autoencoder that the network was trained with"
            )

    def draw(self, latent_shape: tuple[int, ...], random: SampleRandom) -> dict[str, torch.Tensor]:
        seeds = drawn_seeds(random)
        return {"noise": random.normal(*latent_shape), "seed": seeds}

    def denoise(
        self, raw: torch.Tensor, labels: torch.Tensor | None, drawn: dict[str, torch.Tensor], how: Denoising
    ) -> torch.Tensor:
        network, scheduler = self.network.to(raw.device), copy.deepcopy(self.scheduler)
        scheduler.set_timesteps(how.steps, device=raw.device)
        # A scheduler of order n has up to n entries per step, so the start is counted from the first entry.
        start = (how.steps - how.taken) * scheduler.order
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(start)
        draws = "generator" in inspect.signature(scheduler.step).parameters
        given = {"generator": generators_of(drawn["seed"])} if draws else {}
        classes = self._classes(labels, len(raw), raw.device)
        x = self._noised(scheduler, raw, drawn["noise"], scheduler.timesteps[start])
        for t in scheduler.timesteps[start:]:
            scaled = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
            predicted = self._predicted(network, scaled, t, classes, how.guidance)
            x = scheduler.step(predicted, t, x, **given).prev_sample
        return x

    def tensors(self) -> dict[str, torch.Tensor]:
        return self.network.state_dict()

    def models(self) -> list[str]:
        return [model_line(self.source, self.revision)]

    def _loaded(self) -> Any:
        return load_pipeline(installed("a diffusion model").DiffusionPipeline, self.source, self.revision)

    def _noised(self, scheduler: Any, raw: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        times = t.repeat(len(raw))
        if hasattr(scheduler, "scale_noise"):  # flow matching
            return scheduler.scale_noise(raw, times, noise)
        return scheduler.add_noise(raw, noise, times)

    def _predicted(
        self, network: Any, x: torch.Tensor, t: torch.Tensor, classes: torch.Tensor | None, guidance: float
    ) -> torch.Tensor:
        predicted = self._output(network, x, t, classes)
        if guidance == 1 or classes is None:
            return predicted
        if not self._knows_none:
            raise InputError(
                f"got guidance={guidance}, but the network of {self.source} has no unconditional prediction; leave "
                "guidance out"
            )
        return torch.lerp(self._output(network, x, t, torch.full_like(classes, self.num_classes)), predicted, guidance)

    def _output(self, network: Any, x: torch.Tensor, t: torch.Tensor, classes: torch.Tensor | None) -> torch.Tensor:
        """Return the prediction of the network, without a predicted variance."""
        given = {} if classes is None else {"class_labels": classes}
        return network(x, t.to(x.device).repeat(len(x)), **given).sample[:, : x.shape[1]]

    def _classes(self, labels: torch.Tensor | None, count: int, device: torch.device) -> torch.Tensor | None:
        """Return class numbers int64 (B,) for the network, or None if it is unconditional."""
        if not self.conditional:
            return None
        labels = torch.full((count,), -1, device=device) if labels is None else labels
        check_classes(labels, self.num_classes, f"the network of {self.source}", unlabelled=self._knows_none)
        return torch.where(labels < 0, self.num_classes, labels) if self._knows_none else labels
