"""Progress of commands that take more than two seconds: a bar on a terminal, a few lines in a log."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

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
    assert shown.decode().splitlines()[-1].startswith("wrote ")
