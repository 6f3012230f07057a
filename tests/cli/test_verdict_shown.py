"""Every command that uses an autoencoder on images says how well it reconstructs them, and what `residual` becomes."""

from __future__ import annotations

import json
import re

import pytest

from augmentor import load_autoencoder
from augmentor.tuning import TuneResult

VERDICT = r"(poor|fair|good): reconstructs \d+ images with a mean PSNR of \d+\.\d dB; baselines: mean image \d"


@pytest.mark.parametrize(
    "line",
    [
        "train-autoencoder digits --steps 2 --out ae",
        "preview DATA/grey.npz --autoencoder digits --policy gaussian --images 2",
        "generate DATA/grey.npz --autoencoder digits --num-samples 4 --anyway --out shards",
        "train-gan DATA/grey.npz --autoencoder digits --augment both --steps 1 --batch-size 8 --anyway --out gan",
        "evaluate DATA/shards DATA/grey.npz --features digits",
    ],
)
def test_a_command_shows_the_verdict(succeeds, line):
    assert re.search(VERDICT, succeeds(line)), line


def test_info_shows_the_verdict_of_a_run(succeeds):
    succeeds("train-autoencoder digits --steps 2 --out ae")
    assert json.loads(succeeds("info ae"))["weights"]["info"]["verdict"]["verdict"] in ("poor", "fair", "good")


@pytest.mark.parametrize(
    "command", ["preview --policy gaussian --images 2", "generate --num-samples 2 --anyway --out out"]
)
@pytest.mark.parametrize(
    ("source", "autoencoder", "residual"), [("digits", "digits", 0.0), ("DATA/rgb", "DATA/run", 1.0)]
)
def test_a_command_says_which_residual_auto_is(succeeds, command, source, autoencoder, residual):
    name, _, options = command.partition(" ")
    assert re.search(rf"residual +{residual}", succeeds(f"{name} {source} --autoencoder {autoencoder} {options}"))


def test_tune_shows_it_in_the_end_where_it_trained_one(succeeds, monkeypatch):
    result = TuneResult("none", {}, [], "nothing is better", {}, load_autoencoder("digits"))
    monkeypatch.setattr("augmentor.tuning.tune", lambda *data, **settings: result)
    before, after = succeeds("tune digits --autoencoder vae").split("nothing is better")
    assert "not known yet: one is trained for each fold" in before
    assert re.search(VERDICT, after)


def test_a_poor_autoencoder_that_is_only_a_start_stops_nothing(succeeds, call):
    line = "train-gan DATA/rgb --autoencoder DATA/run --steps 1 --batch-size 8"
    assert "poor: " in succeeds(f"{line} --method vae-gan --augment none --out one")
    assert "add --anyway to continue" in call(f"{line} --method gan --augment both --out two").err
