"""Denoiser with a text-conditional latent diffusion model, such as Stable Diffusion: a pipeline of diffusers."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from .._internal.diffusers import full_place, installed, load_pipeline, model_line
from .._internal.files import absolute_path
from .._internal.random import SampleRandom
from ..exceptions import DeviceError, InputError, WeightsError
from ._base import Denoiser, Denoising, denoisers, drawn_seeds, generators_of

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@denoisers.register("diffusers")
class PipelineDenoiser(Denoiser):
    """Denoiser with any text-conditional pipeline that diffusers' `AutoPipelineForImage2Image` supports.

    The pipeline takes and returns latents, so the autoencoder of the transform must be that of the pipeline,
    ``"diffusers:PLACE/vae"``, or one with the same number of channels, scale and shift. Each sample has its own random
    generator, so its noise is the same in any batch. Gradients do not flow through the pipeline.

    source: a folder written by `save_pretrained`, a repository on the hub, ``"owner/name"``, or a pipeline object,
        which has no string form. It is loaded at its first use.
    revision: branch, tag or commit of the repository; with a commit, a folder of shards is reproducible.
    prompt: the text. ``{}`` is replaced by the name of the sample's class, or by nothing if it has no class.
    classes: the names, in the order of the class numbers; they may be tokens.
    lora: a folder or file of LoRA weights. tokens: a folder or file of textual-inversion embeddings, such as those of
        DA-Fusion (Trabucco et al. 2024), one per class. Only safetensors are read.
    precision: "fp32", "fp16" or "bf16". offload: keep parts on the CPU while they are not used, to save GPU memory.

    Raises `InputError` for settings that do not fit each other. Loading raises `WeightsError` for files that cannot be
    read and `InputError` for a pipeline without a text encoder.

    ``PipelineDenoiser("owner/name", prompt="a photo of a {}", classes=["cat", "dog"])``
    """

    guidance = 7.5

    def __init__(
        self,
        source: Any,
        revision: str | None = None,
        prompt: str = "",
        classes: Sequence[str] = (),
        lora: str | Path | None = None,
        tokens: str | Path | None = None,
        precision: str = "fp32",
        offload: bool = False,
    ):
        if precision not in _DTYPES:
            raise InputError(f"precision of a pipeline is one of {', '.join(_DTYPES)}, got {precision!r}")
        live = not isinstance(source, (str, Path))
        self._pipeline, self._ready = source if live else None, False
        self._offloads_to: torch.device | None = None
        self.source = f"<{type(source).__name__}>" if live else full_place(source)
        self.revision = revision
        self.prompt, self.classes = prompt, [str(name) for name in classes]
        self.lora, self.tokens = (None if part is None else str(absolute_path(part)) for part in (lora, tokens))
        self.precision, self.offload = precision, offload
        self.conditional = "{}" in prompt
        if self.conditional and not self.classes:
            raise InputError(f"prompt {prompt!r} has a slot for the class; give the names, e.g. classes=['cat', 'dog']")

    @property
    def pipeline(self) -> Any:
        """The pipeline with its LoRA weights and tokens. It is loaded at the first access."""
        if not self._ready:
            self._pipeline, self._ready = self._prepared(self._pipeline or self._loaded()), True
        return self._pipeline

    def check_autoencoder(self, autoencoder: Any) -> None:
        config = self.pipeline.vae.config
        wanted = (int(config.latent_channels), float(config.scaling_factor), float(config.shift_factor or 0.0))
        given = (autoencoder.latent_shape[0], getattr(autoencoder, "scale", None), getattr(autoencoder, "shift", None))
        if given != wanted:
            raise InputError(
                f"the pipeline {self.source} takes latents with (channels, scale, shift) {wanted}, and autoencoder "
                f"{autoencoder.name!r} has {given}; use the autoencoder of the pipeline: 'diffusers:{self.source}/vae'"
            )

    def draw(self, latent_shape: tuple[int, ...], random: SampleRandom) -> dict[str, torch.Tensor]:
        return {"seed": drawn_seeds(random)}

    def denoise(
        self, raw: torch.Tensor, labels: torch.Tensor | None, drawn: dict[str, torch.Tensor], how: Denoising
    ) -> torch.Tensor:
        pipeline = self._on(raw.device)
        made = pipeline(
            prompt=self._prompts(labels, len(raw)),
            image=raw.to(_DTYPES[self.precision]),
            strength=how.strength,
            num_inference_steps=max(how.steps, math.ceil(1 / how.strength)),  # at least one step is computed
            guidance_scale=how.guidance,
            generator=generators_of(drawn["seed"]),
            output_type="latent",
        )
        return made.images.to(raw)

    def tensors(self) -> dict[str, torch.Tensor]:
        parts = {name: part for name, part in self.pipeline.components.items() if isinstance(part, torch.nn.Module)}
        return {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}

    def models(self) -> list[str]:
        return [model_line(self.source, self.revision)]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out a pipeline that was loaded from `source`: a worker or another machine loads it again."""
        return self.__dict__ | (
            {} if self.source.startswith("<") else {"_pipeline": None, "_ready": False, "_offloads_to": None}
        )

    def _loaded(self) -> Any:
        kind = installed("a latent diffusion model").AutoPipelineForImage2Image
        return load_pipeline(kind, self.source, self.revision, torch_dtype=_DTYPES[self.precision])

    def _prepared(self, pipeline: Any) -> Any:
        """Check that the pipeline takes text, and add LoRA weights and tokens."""
        if getattr(pipeline, "text_encoder", None) is None or getattr(pipeline, "vae", None) is None:
            raise InputError(
                f"the pipeline {self.source} has no text encoder or no autoencoder; expected a text-to-image latent "
                "diffusion model. For an unconditional or class-conditional one use the denoiser diffusion(...)"
            )
        if "strength" not in inspect.signature(pipeline.__call__).parameters:  # text-to-image
            pipeline = installed("this pipeline").AutoPipelineForImage2Image.from_pipe(pipeline)
        pipeline.to(dtype=_DTYPES[self.precision])
        pipeline.set_progress_bar_config(disable=True)
        for method, place in (("load_lora_weights", self.lora), ("load_textual_inversion", self.tokens)):
            for file in [] if place is None else _weights_in(place):
                try:
                    getattr(pipeline, method)(str(file.parent), weight_name=file.name)
                except Exception as error:  # raised by diffusers, peft or safetensors
                    raise WeightsError(
                        f"cannot add {file} to the pipeline {self.source}: {' '.join(str(error).split())[:300]}"
                    ) from error
        return pipeline

    def _on(self, device: torch.device) -> Any:
        """Return the pipeline on this device; an offloaded one moves there part by part while it runs."""
        pipeline = self.pipeline
        if self.offload and device.type == "cpu":
            raise DeviceError("offload=True keeps parts on the CPU while a GPU computes, got device 'cpu'; omit it")
        if not self.offload:
            return pipeline if pipeline.device == device else pipeline.to(device)
        if self._offloads_to != device:
            pipeline.enable_model_cpu_offload(device=device)
            self._offloads_to = device
        return pipeline

    def _prompts(self, labels: torch.Tensor | None, count: int) -> list[str]:
        """Return the text of each sample."""
        numbers = [-1] * count if labels is None or not self.conditional else labels.tolist()
        if max(numbers, default=-1) >= len(self.classes) > 0:
            raise InputError(
                f"got class number {max(numbers)}, and classes has {len(self.classes)} names; give all names"
            )
        names = [self.classes[number] if number >= 0 else "" for number in numbers]
        return [self.prompt.replace("{}", name).strip() for name in names]


def _weights_in(place: str) -> list[Path]:
    """Return the safetensors files of a folder, or the file itself; raise `WeightsError` if there is none."""
    path = Path(place)
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if not files or not files[0].is_file() or files[0].suffix != ".safetensors":
        raise WeightsError(f"{place} is neither a .safetensors file nor a folder of them; pickled weights are not read")
    return files
