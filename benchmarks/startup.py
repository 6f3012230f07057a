"""Time of the import beyond torch, and of `augmentor demo`.

python benchmarks/startup.py
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time

from common import draw_table, record

IMPORT = "import torch, torchvision, time; t = time.perf_counter(); import augmentor; print(time.perf_counter() - t)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    imports = [float(subprocess.check_output([sys.executable, "-c", IMPORT])) for _ in range(rounds)]
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "augmentor", "demo", "--quiet"], cwd=folder, check=True)
        demo = time.perf_counter() - began
    rows = {"import augmentor, after torch": imports, "augmentor demo": [demo]}
    lines = ["| | seconds | asked for |", "|---|---|---|"]
    for (name, seconds), asked in zip(rows.items(), ("< 0.05", "< 100"), strict=True):
        lines.append(f"| {name} | {statistics.median(seconds):.3g} | {asked} |")
    print("\n".join(lines))
    record("startup", {"rounds": rounds}, rows)
    draw_table("startup", lines)


if __name__ == "__main__":
    main()
