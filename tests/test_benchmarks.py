"""The benchmark runs, and a run that was stopped goes on with what it had found."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROWS = ("none", "geometric", "gaussian(0.5), unlabelled")


def run(work, *rows):
    command = [sys.executable, ROOT / "benchmarks" / "classification.py", "--data-root", work, "--sets", "digits-5",
               "--quick", "--jobs", "1", "--work", work, "--rows", *rows]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((work / "classification" / "digits-5-0.json").read_text())["rows"]


def test_a_run_that_was_stopped_goes_on(tmp_path):
    _, before = run(tmp_path, ROWS[0])
    printed, after = run(tmp_path, *ROWS)
    assert set(after) == set(ROWS)
    assert after["none"] == before["none"]
    assert all(f"| {row} |" in printed for row in ROWS)
    assert all(20 < row["score"] <= 100 for row in after.values())
