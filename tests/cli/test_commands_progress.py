"""Progress of commands that take more than two seconds: a bar on a terminal, a few lines in a log."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from augmentor import LatentAugment
from augmentor._internal import progress
from augmentor.latents import LatentCache

ROOT = Path(__file__).resolve().parents[2]
# Each of 24 files takes 0.15 s to read; the last line is of the command itself.
SLOW = """
import sys, time
from augmentor.data.sources import image_folder
read = image_folder._read_image
def slowly(*arguments):
    time.sleep(0.15)
    return read(*arguments)
image_folder._read_image = slowly
from augmentor.cli import main
main(sys.argv[1:])
"""


@pytest.fixture
def command(data, tmp_path) -> list[str]:
    arguments = ["preview", f"{data}/rgb", "--autoencoder", f"{data}/rgb.safetensors", "--policy", "slerp"]
    return [sys.executable, "-c", SLOW, *arguments, "--out", f"{tmp_path}/preview.png"]


@pytest.mark.slow
def test_a_log_gets_a_line_now_and_then(command, tmp_path):
    with open(tmp_path / "log", "w") as log:
        subprocess.run(command, stdout=log, stderr=log, cwd=ROOT, check=True)
    text = (tmp_path / "log").read_text()
    assert "\r" not in text
    lines = [line for line in text.splitlines() if line.startswith("reading rgb: ")]
    assert len(lines) == 2  # one after two seconds, one at the end
    assert "24/24" in lines[1]


@pytest.mark.slow
def test_a_terminal_gets_a_bar_that_goes_when_it_is_done(command):
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(ROOT)
        os.execv(command[0], command)
    shown = b""
    try:
        while part := os.read(terminal, 1 << 16):
            shown += part
    except OSError:  # how a terminal ends
        pass
    assert os.waitpid(process, 0)[1] == 0
    bars = [part for part in shown.decode().split("\r") if part.startswith("reading rgb: ")]
    assert len(bars) >= 5
    assert "%|" in bars[0]
    assert shown.decode().splitlines()[-2].startswith("wrote ")


@pytest.fixture
def at_once(monkeypatch) -> None:
    """Bars come without delay, and a line with every step."""
    monkeypatch.setattr(progress, "DELAY", 1e-9)
    monkeypatch.setattr(progress, "_PAUSE", 0)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("generate digits --num-samples 130 --out out", ["generating: 98% 128/130", "generating: 100% 130/130"]),
        ("generate digits --num-samples 4 --policy smote --out out", ["encoding: 100% 1797/1797"]),
        ("generate digits --num-samples 4 --cache kept --out out", ["encoding: 14% 256/1797"]),
        ("evaluate digits digits --num-samples 300 --out out.json", ["features: 100% 2/2"]),
        ("preview digits --policy smote --policy slerp --out out.png",
         ["encoding: 100% 1797/1797", "drawing: 50% 1/2"]),
        ("verify DATA/shards", ["verifying: 5", "verifying: 100%"]),
        ("train-autoencoder DATA/float.npz --steps 4 --batch-size 8 --out out",
         ["train spatial_kl: 25% 1/4", "latent statistics: 100% 1/1"]),
        ("train-gan DATA/grey.npz --method gan --steps 2 --batch-size 8 --out out",
         ["train gan: 50% 1/2", "features: "]),
        ("tune digits --budget 0.01s --out out", ["search: "]),
    ],
)  # fmt: skip
def test_each_command_shows_what_takes_long(call, at_once, line, shown):
    said = call(line).err
    for text in shown:
        assert text in said


def test_fit_and_a_cache_show_progress_without_a_command(digits, vae, at_once, capsys):
    LatentAugment(vae, "smote").fit(digits)
    LatentCache(DataSetOfItems(digits), vae)
    said = capsys.readouterr().err
    assert said.count("encoding: 100% 1797/1797") >= 2
    assert "reading: 100% 1797/1797" in said  # for the fingerprint


class DataSetOfItems:
    """A data set of the user, which has no fingerprint of its own."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        return self.dataset[index]
