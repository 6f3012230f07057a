"""Shard generation by two processes against one, with torchrun and with Ray.

    python benchmarks/processes.py

The 1,797 digits of scikit-learn at 28x28, the pretrained `mnist`, one thread per process. A figure is the time of a
large folder minus that of a small one, which removes the start of the processes. One process and two are measured in
turn; a ratio is the median over rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import draw_table, record

SMALL, LARGE, SHARD = 2_048, 34_816, 2_048
# Ray starts one worker per CPU but one, which it keeps free.
SCRIPT = """
import sys, torch
from torchvision.transforms import v2
from augmentor import LatentAugment, generate_shards
from augmentor.data import ArrayDataset, load_source
torch.set_num_threads(1)
if sys.argv[1] == "ray":
    import ray
    ray.init(num_cpus=int(sys.argv[2]) + 1, include_dashboard=False, log_to_driver=False)
source = load_source("digits")
data = ArrayDataset(v2.Resize((28, 28), antialias=True)(source.images), source.targets, source.classes)
augment = LatentAugment("mnist", "gaussian(std=0.5)")
generate_shards(data, augment, sys.argv[3], num_samples=int(sys.argv[4]), shard_size=int(sys.argv[5]),
                executor=sys.argv[1], progress=False, budget=1e6)
"""


def seconds(executor: str, processes: int, count: int, folder: Path) -> float:
    """Return the wall time of the whole command."""
    script = folder / "script.py"
    script.write_text(SCRIPT)
    launcher = [sys.executable]
    if executor == "torchrun":
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    began = time.perf_counter()
    out = folder / f"{executor}-{processes}-{count}-{began}"
    command = [*launcher, script, executor, str(processes), out, str(count), str(SHARD)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--executors", nargs="*", default=["torchrun", "ray"], choices=["torchrun", "ray"])
    options = parser.parse_args()
    rows = {}
    for executor in options.executors:
        net: dict[int, list[float]] = {1: [], 2: []}
        with tempfile.TemporaryDirectory() as folder:
            for _ in range(options.rounds):
                for processes, times in net.items():
                    small, large = (seconds(executor, processes, count, Path(folder)) for count in (SMALL, LARGE))
                    times.append(large - small)
        speedup = [one / two for one, two in zip(net[1], net[2], strict=True)]
        rows[executor] = {
            "images per second, one process": (LARGE - SMALL) / statistics.median(net[1]),
            "images per second, two processes": (LARGE - SMALL) / statistics.median(net[2]),
            "two / one": statistics.median(speedup),
            "rounds": speedup,
        }
        print(executor, rows[executor], flush=True)
    lines = [
        "| executor | one process, images per second | two | two / one | lowest to highest |",
        "|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        one, two, ratio, rounds = row.values()
        lines.append(f"| {name} | {one:,.0f} | {two:,.0f} | {ratio:.2f} | {min(rounds):.2f} to {max(rounds):.2f} |")
    print("\n".join(lines))
    record("processes", {"rounds": options.rounds, "samples": [SMALL, LARGE], "shard_size": SHARD}, rows)
    draw_table("processes", lines)


if __name__ == "__main__":
    main()
