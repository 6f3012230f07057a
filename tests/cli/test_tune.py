"""``augmentor tune``: what it writes and prints, and that it goes on. Bad input is in test_bad_input.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from augmentor import LatentAugment, MixedDataset
from augmentor.data import load_source
from augmentor.exceptions import AugmentorWarning

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.filterwarnings("ignore:the accuracy of pseudo-labels")  # two of each class say little
def test_it_writes_all_files_and_says_the_answer(succeeds, files, monkeypatch):
    for name, values in (("POLICIES", ("gaussian(std=0.5)",)), ("RESIDUALS", (0.0,)), ("RATIOS", (1.0,))):
        monkeypatch.setattr(f"augmentor.tuning.classification.{name}", values)
    monkeypatch.setattr("augmentor.tuning.race.MOST_REPEATS", 2)
    digits = load_source("digits")
    np.savez("more.npz", images=digits.images[:200, 0], labels=digits.targets[:200])
    line = ("tune digits --labels-per-class 4 --steps 3 --folds 2 --control none --batch-size 16 "
            "--unlabelled more.npz --budget 20m")  # fmt: skip
    out = succeeds(line)
    for said in ("digits: 40 images (1, 8, 8)", "verdict good: reconstructs", "budget 1200.0",
                 "unlabelled more.npz: 200 images", "2 of 2 settings were tried", "runs/tune/policy.json"):  # fmt: skip
        assert said in " ".join(out.split())
    assert "affine |" not in out
    before = files()
    names = ("policy.json", "run.json", "table.md", "trials.jsonl", "tune.png")
    assert list(before) == ["more.npz", *(f"runs/tune/{name}" for name in names)]
    config = json.loads(before["runs/tune/policy.json"])
    assert (config["autoencoder"], config["unlabelled"]) == ("digits", 200)
    with pytest.warns(AugmentorWarning, match="p=0"):  # the answer is "none"
        augment = LatentAugment.from_config("runs/tune/policy.json")
    with pytest.warns(AugmentorWarning, match="adds no synthetic samples"):
        assert len(MixedDataset(digits, augment, sampling_strategy="tuned")) == 1797
    succeeds(line)
    assert files() == before


def test_interrupted_it_says_how_to_go_on(tmp_path):
    running = subprocess.Popen(
        [sys.executable, "-m", "augmentor", "tune", "digits", "--budget", "1h", "--steps", "5", "--out", "run"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    journal = tmp_path / "run/trials.jsonl"
    while running.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") >= 2):
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate()
    assert running.returncode == 130, err
    assert 0 < err.find("Estimated time: about") < err.find("stopped")
    assert "stopped; the same command resumes from run" in err
    assert "Traceback" not in err
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["run.json", "trials.jsonl"]
