"""A few hundred damaged files of every kind; `benchmarks/faults/fuzz.py` tries many thousands."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks" / "faults"))

import fuzz

pytestmark = pytest.mark.slow


def test_damaged_files_are_read_correctly_or_refused():
    rows = fuzz.fuzz(count=25, seed=1)
    assert sum(row["files"] for row in rows.values()) >= 300
    for name, row in rows.items():
        unseen = row["misread"] if name == fuzz.UNSEEN else 0  # pixels without a checksum
        assert row["read"] + row["refused"] + unseen == row["files"], (name, row["faults"])
    # Otherwise this would say nothing: the damage does both.
    assert all(row["refused"] > 5 for row in rows.values())
    assert sum(row["read"] for row in rows.values()) > 50
    assert rows[fuzz.UNSEEN]["misread"] > 0


def test_a_reader_with_each_fault_is_found_out(tmp_path):
    """The outcomes that never occur would be noticed if they did."""

    def crash(folder):
        os.kill(os.getpid(), signal.SIGKILL)

    def spin(folder):
        while True:
            pass

    def take(folder):
        return bytearray(200 << 20)

    def read_elsewhere(folder):
        Path("/etc/hostname").read_bytes()

    def raise_untyped(folder):
        raise KeyError("a")

    def misread(folder):
        raise fuzz.Misread("x")

    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_bytes(b"x" * 100)
    expected = {crash: "crash", take: "memory", read_elsewhere: "outside",
                raise_untyped: "error", misread: "misread", spin: "hang"}  # fmt: skip
    for fault, outcome in expected.items():

        def read(folder, fault=fault):
            if (folder / "file").read_bytes() != b"x" * 100:
                fault(folder)

        kind = fuzz.Kind("x", tmp_path / "source", "file", (fuzz.mutations.flip_bits,), read, 100)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fuzz, "SECONDS", 1)
            answers = fuzz.run(kind, 2, 0, tmp_path / "trial")
        assert [a["outcome"] for a in answers if a["number"] >= 0] == [outcome] * 2, fault.__name__
