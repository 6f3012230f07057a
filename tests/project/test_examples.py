"""Every file of `examples/` runs as a user runs it, in an empty folder and without a network, and learns something."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

# Whatever looks for another machine fails at once, and with it the example.
_OFFLINE = """
import socket, sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo") and not isinstance(arguments[-1], str):
        raise OSError(f"an example opened a connection: {arguments!r:.200}")

sys.addaudithook(refuse)
"""


def test_there_is_one_for_each_library_and_the_readme_lists_them():
    assert {path.stem for path in EXAMPLES} == {
        "accelerate_loop", "albumentations_pipeline", "huggingface_datasets", "huggingface_trainer",
        "imagefolder_shards", "imbalanced_learn", "lightning_ddp", "plain_pytorch", "timm_mixup",
    }  # fmt: skip
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES if f"examples/{path.name}" not in readme] == []


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_learns(path, tmp_path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < 60
    (tmp_path / "offline").mkdir()
    (tmp_path / "offline/sitecustomize.py").write_text(_OFFLINE)
    (tmp_path / "empty").mkdir()
    done = subprocess.run(
        [sys.executable, str(path)], cwd=tmp_path / "empty", capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "offline"), str(ROOT)]),
             "OMP_NUM_THREADS": "1", "HF_HOME": str(tmp_path / "hub"), "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert float(re.findall(r"accuracy.* ([\d.]+)$", done.stdout.strip())[-1]) > 0.85, done.stdout
