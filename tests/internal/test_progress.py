"""Progress bars: what a log, a launched process and a user who wants none see. Terminals are in tests/cli."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from augmentor._internal import progress
from augmentor._internal.progress import progress_bar


@pytest.fixture
def log(monkeypatch, capsys) -> Callable[[], str]:
    """What was written to stderr, which is no terminal. Bars come after 0.1 s and lines after 0.3 s."""
    monkeypatch.setattr(progress, "DELAY", 0.1)
    monkeypatch.setattr(progress, "_PAUSE", 0.3)
    return lambda: capsys.readouterr().err


def work(steps: int, **settings: object) -> None:
    for _ in progress_bar(range(steps), desc="reading", unit="image", **settings):
        time.sleep(0.02)


def test_a_log_gets_a_few_whole_lines_and_the_last(log):
    work(50)
    said = log()
    *first, last = said.splitlines()
    assert 1 <= len(first) <= 10  # of 50 steps, in a second if the machine is not busy
    assert "\r" not in said
    for line in first:
        assert re.match(r"reading: \d+% \d+/50 \[", line)
    assert last.startswith("reading: 100% 50/50 [")


def test_short_work_writes_nothing(log):
    work(1)
    assert log() == ""


def test_work_of_unknown_length_is_counted(log):
    with progress_bar(desc="encoding", unit="image") as bar:
        for _ in range(10):
            time.sleep(0.02)
            bar.update(32)
    assert log().splitlines()[-1].startswith("encoding: 320image [")


@pytest.mark.parametrize("hidden", [{"RANK": "1"}, {"LOCAL_RANK": "1"}, {}])
def test_of_several_processes_the_first_shows_bars_if_they_are_asked_for(log, monkeypatch, hidden):
    for name, value in hidden.items():
        monkeypatch.setenv(name, value)
    work(10, show=bool(hidden))
    assert log() == ""


@pytest.mark.parametrize("hidden", [False, True])
def test_the_environment_hides_bars_as_for_every_use_of_tqdm(hidden):
    code = "from augmentor._internal import progress as p; p.DELAY = 1e-9; list(p.progress_bar([1, 2], desc='reading'))"
    environment = os.environ | ({"TQDM_DISABLE": "1"} if hidden else {})
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert ("reading: 100%" in done.stderr) is not hidden
