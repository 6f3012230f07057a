"""Correctness and speed of this package on a GPU.

    python benchmarks/gpu.py --out runs/gpu                 all parts, under six minutes on one GPU
    python benchmarks/gpu.py --out runs/gpu --only noise streams
    python benchmarks/gpu.py --out runs/gpu --device cpu --quick     the same code without a GPU, in seconds

Each part writes ``OUT/PART.json`` when it ends: duration, figures, failed checks, peak memory and, if it could not run,
the error. ``OUT/report.md`` is the table of all parts. A part that fails does not stop the others; the exit status is 1
if a check failed or a part could not run. No part starts after `--minutes`.

Checks are in gpu_checks.py, measurements in gpu_speed.py. CONTRIBUTING.md describes a run without a network.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import torch
from common import machine
from gpu_checks import CHECKS
from gpu_place import Found, Place
from gpu_speed import MEASUREMENTS

from augmentor._internal.files import write_json
from augmentor.exceptions import AugmentorWarning

PARTS = CHECKS | MEASUREMENTS


def run(name: str, place: Place, out: Path) -> Found:
    """Run and record one part."""
    found, began = Found(), time.perf_counter()
    if place.on_cuda:
        torch.cuda.reset_peak_memory_stats()
    try:
        PARTS[name](place, found)
        place.synchronize()
    except Exception:  # the other parts still run
        found.error = traceback.format_exc()
    seconds = time.perf_counter() - began
    peak = torch.cuda.max_memory_allocated() if place.on_cuda else None
    result = {"part": name, "seconds": seconds, "peak_bytes": peak, "quick": place.quick, "machine": machine()}
    write_json(out / f"{name}.json", {**result, **found.as_json()})
    return found


def report(out: Path) -> list[str]:
    """Return Markdown lines of all parts with a file in the folder."""
    lines = ["| part | seconds | peak memory, MiB | figure | value | |", "|---|---|---|---|---|---|"]
    for name in PARTS:
        path = out / f"{name}.json"
        if not path.exists():
            continue
        part = json.loads(path.read_text())
        peak = "" if part["peak_bytes"] is None else f"{part['peak_bytes'] / 2**20:.0f}"
        lines.append(f"| **{name}** | {part['seconds']:.1f} | {peak} | | | {'error' if part['error'] else ''} |")
        for figure, value in part["figures"].items():
            text = f"{value:,.4g}" if isinstance(value, float) else str(value)
            lines.append(f"| | | | {figure} | {text} | {'FAILED' if figure in part['failed'] else ''} |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--device", default="cuda", help="torch device (default: cuda)")
    parser.add_argument("--only", nargs="*", default=list(PARTS), choices=list(PARTS), help="run only these parts")
    parser.add_argument("--skip", nargs="*", default=[], choices=list(PARTS), help="do not run these parts")
    parser.add_argument("--minutes", type=float, default=5.5, help="start no part after so many minutes (default: 5.5)")
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds, to test this program")
    options = parser.parse_args()
    warnings.simplefilter("ignore", AugmentorWarning)
    options.out.mkdir(parents=True, exist_ok=True)
    began, bad = time.monotonic(), []
    for name in (part for part in PARTS if part in options.only and part not in options.skip):
        if time.monotonic() - began > 60 * options.minutes:
            print(f"{name}: not started, {options.minutes} minutes are over", flush=True)
            bad.append(name)
            continue
        with tempfile.TemporaryDirectory() as folder:
            found = run(name, Place(torch.device(options.device), options.quick, Path(folder)), options.out)
        problem = (found.error or "").strip().splitlines()[-1:] or [f"failed: {check}" for check in found.failed]
        print(f"{name}: {'; '.join(problem) or 'ok'}, after {time.monotonic() - began:.0f} s", flush=True)
        bad += [name] if problem else []
        (options.out / "report.md").write_text("\n".join(report(options.out)) + "\n")
    print("\n".join(report(options.out)))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
