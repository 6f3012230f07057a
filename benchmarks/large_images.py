"""Memory, time and seams of `LatentAugment("natural")` on a photograph of 12 megapixels.

    python benchmarks/large_images.py                  on the CPU, with one thread and with all; about five minutes

The photograph comes with scikit-learn and is enlarged to 4000x3000. The policy is the default, with `residual` 0 and
1. Each setting runs in a separate process, after a call with 64x64 pixels. Memory is the growth of the peak memory of
the process (`ru_maxrss`) in the first call with the large image. Time is the median over rounds; each round measures
the large image and squares of 256 and 1024 pixels, the first of which is processed whole. The seam is the largest
difference between the results for 1024x1024 with and without tiles, in levels of 255.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from common import draw_table, record
from PIL import Image
from sklearn.datasets import load_sample_image
from torchvision.transforms.v2.functional import pil_to_tensor

from augmentor import LatentAugment

LARGE, SMALL, MIDDLE, FIRST = (4000, 3000), (256, 256), (1024, 1024), (64, 64)
CALLS = {LARGE: 1, MIDDLE: 3, SMALL: 10}  # in each round


def photograph(size: tuple[int, int]) -> Image.Image:
    """Return an RGB photograph of this width and height."""
    return Image.fromarray(load_sample_image("china.jpg")).resize(size, Image.Resampling.BICUBIC)


def peak() -> float:
    """Return the peak memory of this process so far, in GB."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes * (1 if sys.platform == "darwin" else 1024) / 1e9


def seconds(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def seam(augment: LatentAugment) -> float:
    """Return the largest difference with and without tiles, in levels of 255."""
    image = pil_to_tensor(photograph(MIDDLE)).float() / 255
    in_tiles = augment.synthesize(image[None], seed=0)
    augment.autoencoder.receptive_radius, radius = None, augment.autoencoder.receptive_radius
    whole = augment.synthesize(image[None], seed=0)
    augment.autoencoder.receptive_radius = radius
    return 255 * float((in_tiles - whole).abs().max())


def measured(residual: float, rounds: int) -> dict[str, Any]:
    """Measure one setting in this process."""
    augment = LatentAugment("natural", p=1.0, residual=residual)
    images = {size: photograph(size) for size in CALLS}
    augment(photograph(FIRST))
    before = peak()
    augment(images[LARGE])
    memory = peak() - before
    times: dict[tuple[int, int], list[float]] = {size: [] for size in CALLS}
    for _ in range(rounds):
        for size, calls in CALLS.items():
            image = images[size]
            times[size].append(statistics.median(seconds(lambda image=image: augment(image)) for _ in range(calls)))
    per_pixel = {size: [1e9 * each / (size[0] * size[1]) for each in found] for size, found in times.items()}
    return {
        "threads": torch.get_num_threads(),
        "peak before, GB": before,
        "peak above that, GB": memory,
        "seconds": statistics.median(times[LARGE]),
        "nanoseconds per pixel": {_name(size): statistics.median(values) for size, values in per_pixel.items()},
        "ratio per pixel": {
            _name(size): statistics.median(a / b for a, b in zip(per_pixel[LARGE], per_pixel[size], strict=True))
            for size in (SMALL, MIDDLE)
        },
        "seam, levels": seam(augment),
        "values": {_name(size): values for size, values in times.items()},
    }


def _name(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def in_own_process(residual: float, threads: int | None, rounds: int) -> dict[str, Any]:
    environment = {**os.environ, **({} if threads is None else {"OMP_NUM_THREADS": str(threads)})}
    command = [sys.executable, __file__, "--residual", str(residual), "--rounds", str(rounds)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--residual", type=float, help="measure only this setting in this process, and print it")
    options = parser.parse_args()
    if options.residual is not None:
        print(json.dumps(measured(options.residual, options.rounds)))
        return
    rows = {}
    for threads in (1, None):
        for residual in (0.0, 1.0):
            name = f"residual={residual:g}, {'all threads' if threads is None else 'one thread'}"
            rows[name] = found = in_own_process(residual, threads, options.rounds)
            record("large-images", {"large": LARGE, "small": SMALL, "middle": MIDDLE, "rounds": options.rounds}, rows)
            print(name, found, flush=True)
    draw_table("large-images", table(rows))


def table(rows: dict[str, dict[str, Any]]) -> list[str]:
    lines = [
        f"| | s | time per pixel / that of {_name(SMALL)} | / that of {_name(MIDDLE)} | peak above the start, GB "
        "| seam, levels of 255 |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        small, middle = (row["ratio per pixel"][_name(size)] for size in (SMALL, MIDDLE))
        lines.append(
            f"| {name} | {row['seconds']:.1f} | {small:.2f} | {middle:.2f} | {row['peak above that, GB']:.2f} "
            f"| {row['seam, levels']:.4f} |"
        )
    return lines


if __name__ == "__main__":
    main()
