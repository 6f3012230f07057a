"""The benchmarks run, and a run that was stopped goes on with what it had found."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = ("RandAugment, affine", "gaussian(std=0.7), pretrained, then RandAugment, affine",
        "labels by latents and own predictions, then RandAugment, affine")  # fmt: skip


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
        "--seeds",
        "1",
        "--rows",
    )
    _, before = run(*options, ROWS[0])
    printed, after = run(*options, *ROWS)
    assert set(after) == set(ROWS)
    assert after[ROWS[0]] == before[ROWS[0]]
    assert all(f"| {row} " in printed for row in ROWS)
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


def test_rows_are_held_against_the_best_control_that_is_allowed_the_same_images(classification):
    scores = {
        "none": [60.0, 70.0, 80.0],
        "affine": [70.0, 80.0, 90.0],
        "gaussian(std=0.7), own, then affine": [72.0, 82.0, 92.0],
        "labels by pixels, then affine": [80.0, 90.0, 95.0],
        "labels by latents, then affine": [81.0, 92.0, 98.0],
    }
    controls = {"none", "affine", "labels by pixels, then affine"}
    rows = {name: classification.spread(values) for name, values in scores.items()}
    for ours, control, gains in (
        ("gaussian(std=0.7), own, then affine", "affine", [2.0, 2.0, 2.0]),
        ("labels by latents, then affine", "labels by pixels, then affine", [1.0, 2.0, 3.0]),
    ):
        assert classification.best_control(rows, ours, controls) == control
        assert classification.above(rows[ours], rows[control])["values"] == gains
    assert classification.best_control({"none": rows["none"]}, "labels by latents, then affine", controls) is None


def test_what_needs_an_autoencoder_is_no_control(classification):
    known = classification.SETS["mnist-10"]  # which names its controls, so that no image is needed
    for row in classification.rows_of(known, None).values():
        needs = any(word in row.name for word in ("own,", "pretrained", "latents", "tune"))
        assert row.is_control == (not needs), row.name
