"""Tiny pipelines of diffusers with random weights, made from configs; nothing is downloaded."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import diffusers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from augmentor._internal.random import seeded

SIDE = 16  # of images; latents have half of it


def autoencoder_kl(latent_channels: int = 4, **config: Any) -> Any:
    with seeded(0, "vae"):
        return diffusers.AutoencoderKL(
            block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=latent_channels, norm_num_groups=4, **config,
        )  # fmt: skip


def tokenizer(folder: Path) -> tuple[Any, int]:
    """Letters are the tokens => it, and how many there are."""
    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=20), len(words)


def stable_diffusion(folder: Path, scheduler: str = "DDIMScheduler") -> Path:
    """A text-to-image pipeline in a folder, as `save_pretrained` writes it."""
    words, count = tokenizer(folder / "words")
    with seeded(0, "pipeline"):
        text = CLIPTextConfig(
            vocab_size=count, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
            max_position_embeddings=20, bos_token_id=count - 2, eos_token_id=count - 1, pad_token_id=count - 1,
        )  # fmt: skip
        unet = diffusers.UNet2DConditionModel(
            block_out_channels=(8, 16), layers_per_block=1, sample_size=SIDE // 2, in_channels=4, out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=16, norm_num_groups=4,
            attention_head_dim=4,
        )  # fmt: skip
        kind = getattr(diffusers, scheduler)
        betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
        more = {"clip_sample": False, "set_alpha_to_one": False} if scheduler == "DDIMScheduler" else {}
        with warnings.catch_warnings(action="ignore"):
            pipeline = diffusers.StableDiffusionPipeline(
                autoencoder_kl(), CLIPTextModel(text), words, unet, kind(**betas, **more), None, None,
                requires_safety_checker=False,
            )  # fmt: skip
            pipeline.save_pretrained(folder / "model")
    return folder / "model"


def unconditional(num_classes: int = 0, scheduler: str = "DDIMScheduler", channels: int = 4) -> Any:
    """A pipeline of a U-Net without text."""
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    with seeded(0, "network"):
        network = diffusers.UNet2DModel(
            in_channels=channels, out_channels=channels, block_out_channels=(8, 8), norm_num_groups=4,
            layers_per_block=1, num_class_embeds=num_classes or None, **blocks,
        )  # fmt: skip
    return diffusers.DDPMPipeline(network, getattr(diffusers, scheduler)())
