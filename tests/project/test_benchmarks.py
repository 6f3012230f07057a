"""The benchmarks run, and a run that was stopped goes on with what it had found."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROWS = ("none", "geometric", "gaussian(0.5), unlabelled")


def run(script, work, *options):
    """What it printed."""
    command = [sys.executable, ROOT / "benchmarks" / script, "--data-root", work, "--jobs", "1", "--work", work]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def classified(work, *rows):
    """What it printed, and the rows that it stored."""
    printed = run("classification.py", work, "--sets", "digits-5", "--quick", "--rows", *rows)
    return printed, json.loads((work / "classification" / "digits-5-0.json").read_text())["rows"]


def test_a_run_that_was_stopped_goes_on(tmp_path):
    _, before = classified(tmp_path, ROWS[0])
    printed, after = classified(tmp_path, *ROWS)
    assert set(after) == set(ROWS)
    assert after["none"] == before["none"]
    assert all(f"| {row} |" in printed for row in ROWS)
    assert all(20 < row["score"] <= 100 for row in after.values())


def test_gans_are_measured_with_and_without_an_autoencoder(tmp_path):
    rows = ("real", "none", "vae-gan")
    printed = run("gan.py", tmp_path, "--sets", "digits", "--seeds", "1", "--rows", *rows)
    found = json.loads((tmp_path / "gan" / "digits-0.json").read_text())["rows"]
    assert set(found) == set(rows)
    assert all(f"| {row} |" in printed for row in rows)
    assert found["real"]["last"]["fid"] < found["none"]["last"]["fid"]
    assert found["real"]["last"]["high_frequencies"] > 0.5
    assert "autoencoder_seconds" in found["vae-gan"]
    assert "autoencoder_seconds" not in found["none"]


def test_tune_holds_one_race_or_two_against_controls_of_their_kind(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    benchmark = importlib.import_module("classification")
    two = {"ours tuned without geometry", "ours tuned + geometric"}
    for known in benchmark.SETS.values():
        races = {row.rpartition(",")[0] for row in benchmark.rows_of(known) if "tuned" in row}
        assert races == (set() if known.rows else two if known.two_races else {"ours tuned"})
    for race in two | {"ours tuned"}:
        assert benchmark.is_fair("mixup", race)
        assert benchmark.is_fair("geometric oversampling", race) == ("without" not in race)
        assert not benchmark.is_fair("pixel SMOTE", race)
        assert not benchmark.is_fair("geometric + colour jitter", race)
    for control in benchmark.CONTROLS:
        assert benchmark.is_fair(control, "gaussian(0.5), residual, own")


def test_rows_are_held_against_the_best_fair_control_seed_by_seed(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    benchmark = importlib.import_module("classification")
    scores = {
        "none": [60.0, 70.0, 80.0],
        "geometric": [70.0, 80.0, 90.0],
        "ours tuned, own": [72.0, 82.0, 92.0],
        "ours tuned without geometry, own": [61.0, 72.0, 83.0],
    }
    rows = {name: benchmark.spread(values) for name, values in scores.items()}
    best, difference = benchmark.above_best_control(rows, "ours tuned, own")
    assert (best, difference["mean"], difference["std"]) == ("geometric", 2.0, 0.0)
    best, difference = benchmark.above_best_control(rows, "ours tuned without geometry, own")
    assert (best, difference["mean"], difference["std"]) == ("none", 2.0, 1.0)
