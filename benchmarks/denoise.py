"""Speed and memory of the policy `denoise` with a latent diffusion model, against a loop over the diffusers pipeline.

    python benchmarks/denoise.py

The model is a small Stable Diffusion with random weights. Images have 64x64 pixels, in batches of 8. Times are measured
in turn in one process, memory in separate processes.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from common import draw_table, record, spread

from augmentor import LatentAugment
from augmentor.autoencoders import DiffusersAutoencoder
from augmentor.denoisers import PipelineDenoiser
from augmentor.policies import Denoise

ROUNDS, CALLS, BATCH, SIDE = 7, 2, 8, 64
STRENGTH, STEPS, GUIDANCE = 0.5, 10, 3.0
CLASSES, PROMPT = ["cat", "dog"], "a photo of a {}"
WAYS = ("loop over the pipeline", "LatentAugment with denoise")


def pipeline() -> Any:
    """Return an image-to-image pipeline whose tokenizer has one token per character."""
    import diffusers
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    count = len(words)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
        (Path(folder) / "merges.txt").write_text("#version: 0.2\n")
        tokenizer = CLIPTokenizer(f"{folder}/vocab.json", f"{folder}/merges.txt", model_max_length=77)
    text = CLIPTextConfig(
        vocab_size=count, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=77, bos_token_id=count - 2, eos_token_id=count - 1, pad_token_id=count - 1,
    )  # fmt: skip
    autoencoder = diffusers.AutoencoderKL(
        block_out_channels=(16, 32, 32), down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3, latent_channels=4, norm_num_groups=8,
    )  # fmt: skip
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(64, 128), layers_per_block=2, sample_size=SIDE // 4, in_channels=4, out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=64, attention_head_dim=8,
    )  # fmt: skip
    scheduler = diffusers.DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    made = diffusers.StableDiffusionImg2ImgPipeline(
        autoencoder, CLIPTextModel(text), tokenizer, unet, scheduler, None, None, requires_safety_checker=False
    )
    made.set_progress_bar_config(disable=True)
    return made


def ways() -> dict[str, Callable[[], Any]]:
    """Return one call per way, on one batch."""
    made = pipeline()
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (BATCH, 3, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    labels = torch.arange(BATCH) % 2
    policy = Denoise(PipelineDenoiser(made, prompt=PROMPT, classes=CLASSES), STRENGTH, STEPS, GUIDANCE)
    augment = LatentAugment(DiffusersAutoencoder(made.vae), policy, p=1.0, residual=0, seed=0).fit(images, labels)

    def loop() -> Any:
        texts = [PROMPT.replace("{}", CLASSES[label]) for label in labels.tolist()]
        return made(
            prompt=texts, image=images / 255, strength=STRENGTH, num_inference_steps=STEPS, guidance_scale=GUIDANCE,
            output_type="pt",
        ).images  # fmt: skip

    return dict(zip(WAYS, (loop, lambda: augment(images, labels)), strict=True))


def peak(name: str) -> float:
    """Return the peak memory of this process in MiB after three calls."""
    torch.set_num_threads(1)
    call = ways()[name]
    for _ in range(3):
        call()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    torch.set_num_threads(1)
    calls = ways()
    for call in calls.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            began = time.perf_counter()
            for _ in range(CALLS):
                call()
            seconds[name].append((time.perf_counter() - began) / CALLS / BATCH)
    rows: dict[str, Any] = {}
    for name, values in seconds.items():
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
            memory = alone.submit(peak, name).result()
        speed = statistics.median(theirs / ours for ours, theirs in zip(values, seconds[WAYS[0]], strict=True))
        rows[name] = {"ms_per_image": spread([1000 * value for value in values]), "speed": speed, "memory_mib": memory}
    lines = ["| | ms per image, median | speed, of the loop | memory, MiB |", "|---|---|---|---|"]
    for name, row in rows.items():
        median = statistics.median(row["ms_per_image"]["values"])
        lines.append(f"| {name} | {median:.0f} | {row['speed']:.2f} | {row['memory_mib']:.0f} |")
    print("\n".join(lines))
    settings = {"rounds": ROUNDS, "batch_size": BATCH, "side": SIDE, "strength": STRENGTH, "steps": STEPS}
    record("denoise", {**settings, "guidance": GUIDANCE}, rows)
    draw_table("denoise", lines)


if __name__ == "__main__":
    main()
