"""kill -9 of the process that generates shards, at any moment.

    python benchmarks/faults/kill.py

"random": kills at random moments of the run. A folder is killed up to four times, resumed in between, and then
finished. "each": a small folder is killed once, just before one of its file operations or halfway through a write, and
then finished; the next folder is killed at the next operation.

After every kill, files are whole or absent, listed files match their hash, and a folder with a manifest is complete.
At the end, the folder has the same names and bytes as one without kills, and no other files.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent))

from common import draw_table, record
from trial import SETTINGS, Child, faults, finished, killed, listed, undisturbed

KILLS_OF_A_FOLDER = 4
TITLES = {"random": "at random moments", "each": "at each file operation"}
SMALL = {"num_samples": 60, "shard_size": 24}


def at_random_moments(kills: int, seed: int, where: Path, **settings: Any) -> dict[str, Any]:
    """Kill `kills` times; return the number of kills per phase, and all faults."""
    expected, duration = undisturbed(where / "undisturbed", **settings)
    draw, phases, wrong, folders = random.Random(seed), Counter[str](), [], 0
    while sum(phases.values()) < kills:
        folder, folders = where / f"random-{folders}", folders + 1
        for _ in range(min(draw.randint(1, KILLS_OF_A_FOLDER), kills - sum(phases.values()))):
            left = 1 - len(set(listed(folder))) * SETTINGS["shard_size"] / SETTINGS["num_samples"]
            child = Child(folder, **settings)
            child.await_start()
            time.sleep(draw.random() * duration * max(left, 0.05))
            child.kill()
            if child.process.exitcode == 0:  # it ended before the kill
                break
            phases[child.phase] += 1
            wrong += faults(folder, expected)
        wrong += finished(folder, expected, **settings)
    return {"kills": sum(phases.values()), "folders": folders, "phases": dict(phases.most_common()), "wrong": wrong}


def at_each_operation(where: Path, step: int = 1, **settings: Any) -> dict[str, Any]:
    """Kill a small run at its first file operation, another at its second, and so on, in steps of `step`."""
    settings = {**SMALL, **settings}
    expected, _ = undisturbed(where / "small", **settings)
    phases, wrong = Counter[str](), []
    for operation in range(0, 10_000, step):
        folder = where / f"operation-{operation}"
        child = Child(folder, at=operation, befall=killed, **settings)
        if child.join() == 0:  # the run has fewer operations
            break
        phases[child.phase] += 1
        wrong += faults(folder, expected)
        wrong += finished(folder, expected, **settings)
    kills = sum(phases.values())
    return {"kills": kills, "folders": kills, "phases": dict(phases.most_common()), "wrong": wrong}


def table(rows: dict[str, Any]) -> list[str]:
    """Return the lines for benchmarks/README.md."""
    both = list(rows.values())
    phases = sum((Counter(row["phases"]) for row in both), Counter[str]())
    lines = ["| killed while | " + " | ".join(TITLES[name] for name in rows) + " |", "|---|" + "---|" * len(rows)]
    lines += [f"| {phase} | " + " | ".join(str(row["phases"].get(phase, 0)) for row in both) + " |" for phase in phases]
    for name in ("kills", "folders"):
        lines.append(f"| **{name}** | " + " | ".join(str(row[name]) for row in both) + " |")
    return [*lines, "| **faults** | " + " | ".join(str(len(row["wrong"])) for row in both) + " |"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as where:
        rows = {
            "random": at_random_moments(asked.kills, asked.seed, Path(where)),
            "each": at_each_operation(Path(where)),
        }
    lines = table(rows)
    print("\n".join(lines))
    for row in rows.values():
        for fault in row["wrong"]:
            print(f"FAULT {fault}")
    record("faults-kill", {**SETTINGS, "small": SMALL, "kills": asked.kills, "seed": asked.seed}, rows)
    draw_table("faults-kill", lines)
    sys.exit(any(row["wrong"] for row in rows.values()))


if __name__ == "__main__":
    main()
