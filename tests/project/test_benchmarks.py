"""The benchmarks run, and a run that was stopped goes on with what it had found."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = ("none", "geometric", "gaussian(0.5), unlabelled")


def run(script, work, found, *options):
    """What it printed, and the rows that it stored."""
    command = [sys.executable, ROOT / "benchmarks" / script, "--data-root", work, "--jobs", "1", "--work", work]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((work / found).read_text())["rows"]


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on(tmp_path):
    options = (
        "classification.py",
        tmp_path,
        "classification/digits-5-0.json",
        "--sets",
        "digits-5",
        "--quick",
        "--rows",
    )
    _, before = run(*options, ROWS[0])
    printed, after = run(*options, *ROWS)
    assert set(after) == set(ROWS)
    assert after["none"] == before["none"]
    assert all(f"| {row} |" in printed for row in ROWS)
    assert all(20 < row["score"] <= 100 for row in after.values())


@pytest.mark.slow
def test_gans_are_measured_with_and_without_an_autoencoder(tmp_path):
    rows = ("real", "none", "vae-gan")
    printed, found = run("gan.py", tmp_path, "gan/digits-0.json", "--sets", "digits", "--seeds", "1", "--rows", *rows)
    assert set(found) == set(rows)
    assert all(f"| {row} |" in printed for row in rows)
    assert found["real"]["last"]["fid"] < found["none"]["last"]["fid"]
    assert found["real"]["last"]["high_frequencies"] > 0.5
    assert [row for row in rows if "autoencoder_seconds" in found[row]] == ["vae-gan"]


@pytest.fixture
def classification(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("classification")


def test_tune_holds_one_race_or_two_against_controls_of_their_kind(classification):
    two = {"ours tuned without geometry", "ours tuned + geometric"}
    for known in classification.SETS.values():
        races = {row.rpartition(",")[0] for row in classification.rows_of(known) if "tuned" in row}
        assert races == (set() if known.rows else two if known.two_races else {"ours tuned"})
    for race in two | {"ours tuned"}:
        assert classification.is_fair("mixup", race)
        assert classification.is_fair("geometric oversampling", race) == ("without" not in race)
        assert not classification.is_fair("pixel SMOTE", race)


def test_rows_are_held_against_the_best_fair_control_seed_by_seed(classification):
    scores = {
        "none": [60.0, 70.0, 80.0],
        "geometric": [70.0, 80.0, 90.0],
        "ours tuned, own": [72.0, 82.0, 92.0],
        "ours tuned without geometry, own": [61.0, 72.0, 83.0],
    }
    rows = {name: classification.spread(values) for name, values in scores.items()}
    for row, control, std in (("ours tuned, own", "geometric", 0.0), ("ours tuned without geometry, own", "none", 1.0)):
        best, difference = classification.above_best_control(rows, row)
        assert (best, difference["mean"], difference["std"]) == (control, 2.0, std)
