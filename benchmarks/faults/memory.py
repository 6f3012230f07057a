"""Peak memory of generating few and many shards; it must not grow with the number of samples.

    python benchmarks/faults/memory.py

Each number of samples runs in a separate process. Measured are the peak resident memory of the process, imports
included, and its growth during generation. "digits" is the pretrained autoencoder of 8x8 digits. The images of "large",
32x32, would together be 40 % of the process.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

sys.path.append(str(Path(__file__).resolve().parent.parent))

from common import draw_table, record
from trial import Child, material

from augmentor import LatentAugment, generate_shards
from augmentor.autoencoders import DenseAutoencoder
from augmentor.data import ArrayDataset

ALLOWED = 1.10


def large() -> tuple[ArrayDataset, LatentAugment]:
    """Return images of 1 KB each, and a transform of almost no cost."""
    data = ArrayDataset(torch.zeros(256, 1, 32, 32, dtype=torch.uint8))
    return data, LatentAugment(DenseAutoencoder((1, 32, 32), latent_dim=2), p=1.0).fit(data)


KINDS = {"digits": material, "large": large}


def measured(folder: Path, answer: Path, kind: str, **settings: Any) -> None:
    """Generate, and write the peak memory before and after, in kB, to the file `answer`."""
    data, augment = KINDS[kind]()
    before = _peak()
    generate_shards(data, augment, folder, **settings)
    answer.write_text(f"{before} {_peak()}")


def peak(where: Path, kind: str, num_samples: int, shard_size: int) -> dict[str, float]:
    """Return the peak of a process that generates this many samples and its growth during generation, in MB."""
    answer, folder = where / f"answer-{kind}-{num_samples}", where / f"{kind}-{num_samples}"
    child = Child(folder, measured, answer=answer, kind=kind, num_samples=num_samples, shard_size=shard_size)
    assert child.join() == 0, "generation failed"
    before, after = (int(value) / 1024 for value in answer.read_text().split())
    return {"peak": round(after, 1), "above": round(after - before, 1)}


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=20_000)
    parser.add_argument("--many", type=int, default=200_000)
    parser.add_argument("--shard-size", type=int, default=4096)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as where:
        rows = {
            kind: {str(count): peak(Path(where), kind, count, asked.shard_size) for count in (asked.few, asked.many)}
            for kind in KINDS
        }
    for row in rows.values():
        few, many = row.values()
        row["ratio"] = {of: round(many[of] / few[of], 3) for of in few}
    lines = table(rows)
    print("\n".join(lines))
    record("faults-memory", {"shard_size": asked.shard_size, "allowed": ALLOWED}, rows)
    draw_table("faults-memory", lines)
    sys.exit(max(row["ratio"]["peak"] for row in rows.values()) > ALLOWED)


def table(rows: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """Return the lines for benchmarks/README.md."""
    lines = ["| images | samples | peak, MB | of which for the generation, MB |", "|---|---|---|---|"]
    for kind, row in rows.items():
        for name, values in row.items():
            shown = f"**ratio**, of the peak at most {ALLOWED}" if name == "ratio" else f"{int(name):,}"
            lines.append(f"| {kind} | {shown} | {values['peak']} | {values['above']} |")
    return lines


if __name__ == "__main__":
    main()
