"""``augmentor tune``: what it writes and prints, that it goes on, and what it says of bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import click
import numpy as np
import pytest
import torch

from augmentor import LatentAugment, MixedDataset
from augmentor.cli import main
from augmentor.cli.tune import _Seconds
from augmentor.data import load_source
from augmentor.exceptions import AugmentorWarning

ROOT = Path(__file__).resolve().parents[2]
FILES = ["policy.json", "run.json", "table.md", "trials.jsonl", "tune.png"]


@pytest.fixture
def call(capfd, tmp_path, monkeypatch):
    """Runs a command in this process, in an empty folder: code, output and error output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def run(*arguments):
        try:
            main(["tune", *map(str, arguments)])
            code = 0
        except SystemExit as end:
            code = end.code
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def one_policy(monkeypatch):
    """A space that is searched at once."""
    monkeypatch.setattr("augmentor.tuning.classification.POLICIES", ("gaussian(std=0.5)",))
    monkeypatch.setattr("augmentor.tuning.classification.RESIDUALS", (0.0,))
    monkeypatch.setattr("augmentor.tuning.classification.RATIOS", (1.0,))
    monkeypatch.setattr("augmentor.tuning.race.MOST_REPEATS", 2)


def test_it_writes_all_files_and_says_the_answer(call, one_policy):
    digits = load_source("digits")
    np.savez("more.npz", images=digits.images[:200, 0], labels=digits.targets[:200])
    arguments = ("digits", "--labels-per-class", 4, "--steps", 3, "--folds", 2, "--budget", "20m", "--no-geometric",
                 "--batch-size", 16, "--unlabelled", "more.npz")  # fmt: skip
    code, out, err = call(*arguments)
    assert code == 0, err
    folder = Path("runs/tune")
    assert sorted(p.name for p in folder.iterdir()) == FILES
    for said in ("digits: 40 images (1, 8, 8)", "autoencoder       digits", "budget            1200.0", "| mixup |",
                 "unlabelled        more.npz: 200 images", "2 of 2 settings were tried",
                 "wrote runs/tune/policy.json"):  # fmt: skip
        assert " ".join(said.split()) in " ".join(out.split()), out
    assert (folder / "table.md").read_text() in out
    assert "geometric |" not in out

    config = json.loads((folder / "policy.json").read_text())
    assert (config["autoencoder"], config["unlabelled"]) == ("digits", 200)
    with pytest.warns(AugmentorWarning, match="p=0"):  # the answer is "none"
        augment = LatentAugment.from_config(folder / "policy.json")
    with pytest.warns(AugmentorWarning, match="adds no synthetic samples"):
        mixed = MixedDataset(digits, augment, sampling_strategy="tuned")
    assert len(mixed) == 1797
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert call(*arguments)[0] == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_interrupted_it_says_how_to_go_on(tmp_path):
    running = subprocess.Popen(
        [sys.executable, "-m", "augmentor", "tune", "digits", "--budget", "1h", "--steps", "5", "--out", "run"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    journal = tmp_path / "run/trials.jsonl"
    while running.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") >= 2):
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate()
    assert running.returncode == 130, err
    assert "stopped; the same command goes on from run" in err
    assert "Traceback" not in err
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["run.json", "trials.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("digits", "--budget", "soon"), "'soon' is no time; expected seconds, or such as 90s, 10m or 1.5h"),
        (("digits", "--budget", "-5"), "is no time"),
        (("digits", "--budget", "0.01s"), "a budget of 0.01 s is too small"),
        (("digits", "--task", "speed"), "'speed' is not one of"),
        (("digits", "--autoencoder", "vea(latent_dim=3)"), "unknown autoencoder 'vea'"),
        (("digits", "--autoencoder", "mnist"), "28"),
        (("digits", "--folds", "1"), "1 is not in the range x>=2"),
        (("digits", "--labels-per-class", "2"), "too few for 3 folds"),
        (("digits", "--unlabelled", "nowhere"), "found no data at 'nowhere'"),
        (("digits", "--unlabelled", "digits", "--task", "kid"), "a GAN needs no labels"),
        (("nowhere",), "found no data at 'nowhere'"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(call, arguments, said):
    code, _, err = call(*arguments)
    assert code == 2
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1
    assert [path for path in Path().rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(("text", "seconds"), [("600", 600), ("90s", 90), ("10m", 600), ("1.5h", 5400), ("0.5", 0.5)])
def test_times(text, seconds):
    assert _Seconds().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "m", "0", "nan", "inf", "10d", "-1m"])
def test_no_times(text):
    with pytest.raises(click.BadParameter):
        _Seconds().convert(text, None, None)
