"""`augmentor generate` as a user and a batch scheduler call it; signals are in `test_generate_faults.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from augmentor.cli import main

COMMAND = ["generate", "digits", "--num-samples", "100", "--shard-size", "30"]


@pytest.fixture
def call(capfd, tmp_path, monkeypatch):
    """Runs a command in an empty folder; its exit code, and all that it said."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str]:
        try:
            main([*COMMAND, "--device", "cpu", *arguments])
            code = 0
        except SystemExit as end:
            code = end.code
        return code, "".join(capfd.readouterr())

    return run


def content(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def test_parts_make_the_same_folder(call):
    assert call("--out", "whole")[0] == 0
    code, said = call("--out", "parts", "--unit-range", "2:9", "--num-workers", "1", "--batch-size", "16")
    assert code == 0
    assert "parts has 2 of 4 shards; the command without --unit-range makes the others" in said
    assert "wrote 100 images to parts" in call("--out", "parts", "--unit-range", "0:2")[1]
    assert content("parts") == content("whole")
    for wrong in ("0-2", "4:5"):
        code, said = call("--out", "other", "--unit-range", wrong)
        assert code == 2
        assert said.splitlines()[-1].startswith("error: ")


def test_tar_files(call):
    assert "read them with webdataset" in call("--out", "tar", "--format", "webdataset")[1]
    assert sorted(content("tar"))[1:] == [f"shard-0000{unit}.tar" for unit in range(4)]
    assert call("--out", "other", "--format", "webdataset", "--store", "latents")[0] == 2
