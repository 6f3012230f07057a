"""The fault scripts of `benchmarks/faults`, each at a small scale."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks" / "faults"))

import disk_full
import kill
import memory
import trial

pytestmark = pytest.mark.slow
SMALL = {"num_samples": 20, "shard_size": 10}


def test_killed_at_file_operations(tmp_path):
    """At every fifth of them; the script takes each."""
    found = kill.at_each_operation(tmp_path, step=5, **SMALL)
    assert found["wrong"] == []
    assert found["kills"] >= 5


def test_killed_at_random_moments(tmp_path):
    found = kill.at_random_moments(2, seed=0, where=tmp_path)
    assert found["wrong"] == []


@pytest.mark.parametrize("befall", [trial.files_limited, trial.permission_lost])
def test_a_disk_that_can_no_longer_be_written(tmp_path, befall):
    found = disk_full.befallen(tmp_path, befall, disk_full.call, places=2)
    assert found["wrong"] == []
    assert any("OutputError" in end for end in found["ends"].values())


@pytest.mark.parametrize("befall", [trial.terminated, trial.interrupted])
def test_a_signal(tmp_path, befall):
    found = disk_full.befallen(tmp_path, befall, disk_full.call_command, places=2)
    assert found["wrong"] == []


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path):
    few, many = (memory.peak(tmp_path, "large", count, shard_size=512)["above"] for count in (4096, 24_576))
    assert many < few + 12  # all images together are 24 MB
