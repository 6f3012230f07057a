"""What generation will take is measured before anything is made, and held against a budget."""

from __future__ import annotations

import re
import time

import pytest
import torch

from augmentor import LatentAugment
from augmentor.cli import main
from augmentor.exceptions import BudgetError, InputError
from augmentor.policies import Gaussian
from augmentor.shards import generate_shards, read_manifest
from augmentor.shards.cost import still_to_make


class Slow(Gaussian):
    """Takes a fifth of a second for each batch; its text is that of `gaussian`."""

    calls = 0

    def apply(self, latents, params):
        Slow.calls += 1
        time.sleep(0.2)
        return super().apply(latents, params)


def generate(digits, out, **settings):
    augment = LatentAugment("digits", Slow(0.5), p=1.0)
    sizes = {"num_samples": 64, "shard_size": 16, "micro_batch": 8, "progress": False}
    return generate_shards(digits.subset(torch.arange(32)), augment, out, **{**sizes, **settings})


def test_too_small_a_budget_makes_nothing_and_says_what_it_would_take(digits, tmp_path):
    out, said = tmp_path / "shards", r"about [\d.]+ seconds for 64 images \([\d.]+ ms per image\).*budget is 1 seconds"
    with pytest.raises(BudgetError, match=said):
        generate(digits, out, budget=1)
    assert not out.exists()
    # Nothing was begun, so it may be another number of samples now.
    assert len(read_manifest(generate(digits, out, num_samples=16, budget=60) / "manifest.json").shards) == 1


def test_only_what_is_missing_counts(digits, tmp_path):
    generate(digits, tmp_path, unit_range=(0, 3))
    assert still_to_make(tmp_path, range(4)) == [3]
    generate(digits, tmp_path, budget=1.5)  # one shard of four, which together take 1.6 seconds or more
    assert still_to_make(tmp_path, range(4)) == []
    Slow.calls = 0
    generate(digits, tmp_path, budget=1e-6)  # nothing to make
    assert Slow.calls == 0


def test_measuring_changes_no_byte(digits, tmp_path):
    plain, measured = generate(digits, tmp_path / "a"), generate(digits, tmp_path / "b", budget=100)
    for unit in range(4):
        name = f"shard-0000{unit}.h5"
        assert (plain / name).read_bytes() == (measured / name).read_bytes()


def test_a_budget_is_positive(digits, tmp_path):
    with pytest.raises(InputError, match="positive number of seconds, got 0"):
        generate(digits, tmp_path, budget=0)


def test_the_command_says_the_cost_and_stops_above_the_budget(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["generate", "digits", "--num-samples", "100000", "--budget", "0.01s", "--out", "shards"])
    assert stopped.value.code == 2
    assert re.search(r"error: generation would take about .* raise --budget|raise the budget", capsys.readouterr().err)


def test_what_takes_seconds_is_said_before_it_starts(digits, tmp_path, capsys):
    generate(digits, tmp_path / "short", num_samples=16, budget=60, progress=True)
    assert "generation takes" not in capsys.readouterr().err
    generate(digits, tmp_path / "long", num_samples=96, budget=60, progress=True)
    assert "generation takes about" in capsys.readouterr().err
