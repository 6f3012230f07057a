"""Nothing opens a connection: an audit hook watches imports, the transforms and the commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Installed before anything of ours is imported; it cannot be removed, hence the process of its own.
_WATCH = """
import sys
seen = []
NETWORK = ("socket.", "urllib.", "http.", "ftplib.", "smtplib.", "telnetlib.")

def watch(event, args):
    # TensorBoard puts the machine's name into the names of its files.
    if event.startswith(NETWORK) and event not in ("socket.__new__", "socket.gethostname"):
        seen.append(f"{event} {args!r:.200}")

sys.addaudithook(watch)
import torch
torch.set_num_threads(1)
"""
_REPORT = """
print("\\nevents", len(seen), *seen, sep="\\n", file=sys.stderr)
"""

_IMPORTS = """
import augmentor
for name in augmentor.__all__:
    getattr(augmentor, name)
import augmentor.training, augmentor.quality, augmentor.gan, augmentor.cli
import augmentor.albumentations
import numpy as np
pipeline = augmentor.albumentations.A.Compose([augmentor.albumentations.LatentAugment("digits", p=1.0)])
pipeline(image=np.zeros((8, 8, 1), np.uint8))
augmentor.LatentAugment("mnist", p=1.0)(torch.rand(2, 1, 28, 28))
augmentor.LatentAugment(p=1.0)(torch.rand(2, 3, 37, 28))
"""
_COMMANDS = """
from augmentor.cli import main
main(["train-autoencoder", "digits", "--steps", "1", "--out", "autoencoder"])
main(["preview", "digits", "--autoencoder", "autoencoder", "--policy", "smote"])
main(["generate", "digits", "--num-samples", "20", "--policy", "smote", "--out", "shards"])
main(["train-gan", "shards", "--autoencoder", "digits", "--augment", "both", "--steps", "2", "--out", "gan"])
main(["evaluate", "gan/generator.safetensors", "shards", "--num-samples", "20"])
main(["info"])
"""
_CONNECTS = """
import socket
try:
    socket.create_connection(("localhost", 1), timeout=0.1)
except OSError:
    pass
"""
pytestmark = pytest.mark.slow


def events(code: str, folder: Path) -> list[str]:
    """The network events of a process that runs this code."""
    plain = {name: value for name, value in os.environ.items() if name != "NO_ALBUMENTATIONS_UPDATE"}
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", _WATCH + code + _REPORT],
        cwd=folder,
        env={**plain, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    return lines[len(lines) - lines[::-1].index("events") :][1:]


@pytest.mark.parametrize("code", [_IMPORTS, _COMMANDS], ids=["imports", "commands"])
def test_there_are_no_network_events(code, tmp_path):
    assert events(code, tmp_path) == []


def test_the_watch_notices_a_connection(tmp_path):
    assert {event.split()[0] for event in events(_CONNECTS, tmp_path)} >= {"socket.getaddrinfo", "socket.connect"}
