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
OWN_IMAGES = ROOT / "examples/own_images.py"

# Whatever looks for another machine fails at once, and with it the example.
_OFFLINE = """
import socket, sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo") and not isinstance(arguments[-1], str):
        raise OSError(f"an example opened a connection: {arguments!r:.200}")

sys.addaudithook(refuse)
"""


def test_there_is_one_for_each_library_and_the_page_on_training_loops_lists_them():
    assert {path.stem for path in EXAMPLES} == {
        "accelerate_loop", "albumentations_pipeline", "huggingface_datasets", "huggingface_trainer",
        "imagefolder_shards", "imbalanced_learn", "lightning_ddp", "own_images", "plain_pytorch", "timm_mixup",
    }  # fmt: skip
    page = (ROOT / "docs" / "training-loops.md").read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES if f"examples/{path.name}" not in page] == []


def run(example: Path, folder: Path, *arguments: str) -> str:
    """What it prints."""
    (folder / "offline").mkdir()
    (folder / "offline/sitecustomize.py").write_text(_OFFLINE)
    (folder / "empty").mkdir()
    done = subprocess.run(
        [sys.executable, str(example), *arguments], cwd=folder / "empty", capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder / "offline"), str(ROOT)]),
             "OMP_NUM_THREADS": "1", "HF_HOME": str(folder / "hub"), "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in EXAMPLES if path != OWN_IMAGES], ids=lambda path: path.stem)
def test_an_example_runs_and_learns(path, tmp_path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < 60
    printed = run(path, tmp_path)
    assert float(re.findall(r"accuracy.* ([\d.]+)$", printed)[-1]) > 0.85, printed


@pytest.mark.slow
def test_own_images_go_from_a_folder_of_photographs_to_accuracies_with_and_without(tmp_path):
    printed = run(OWN_IMAGES, tmp_path, "--steps", "40", "--seeds", "2")
    assert len(list((tmp_path / "empty/photos/train").glob("*/*.jpg"))) == 80
    verdict, without, latents, found = printed.splitlines()
    assert verdict.startswith("good: reconstructs 8 images")
    for line in (without, latents):  # the network has learnt something: chance is 25 %
        assert float(re.findall(r"^accuracy with.*: ([\d.]+) ± [\d.]+ %$", line)[0]) > 40, printed
    assert re.search(r"(difference|gain|loss) on these images, [+-][\d.]+ ± [\d.]+ points in 2 seeds$", found)
