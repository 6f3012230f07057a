"""Whole or absent: what is written, and where."""

from __future__ import annotations

import os

import pytest

from augmentor._internal.files import claim_folder, open_regular, write_bytes
from augmentor.exceptions import OutputError


def test_a_file_replaces_another_whose_reader_keeps_it_and_is_on_the_disk_before_its_name(tmp_path, monkeypatch):
    path, done = tmp_path / "new" / "deep" / "a.bin", []
    sync, replace = os.fsync, os.replace

    def synced(handle):
        done.append("folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "file")
        sync(handle)

    write_bytes(path, b"old")
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", lambda *names: done.append("rename") or replace(*names))
    with open(path, "rb") as reader:
        write_bytes(path, b"new")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(path.parent) == ["a.bin"]
    assert done == ["file", "rename", "folder"]


def test_a_write_that_fails_leaves_the_old_file_and_no_partial_one(tmp_path, monkeypatch):
    write_bytes(tmp_path / "a", b"old")

    def full_disk(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OutputError, match=r"cannot write .*No space left"):
        write_bytes(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_path_that_cannot_be_a_file_is_an_output_error(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    for path in ("folder", "file/inside", "file/in/side", ".", "", "/"):
        with pytest.raises(OutputError, match="cannot write"):
            write_bytes(path, b"1")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_a_folder_can_be_claimed_when_new_empty_or_ours(tmp_path):
    assert claim_folder(tmp_path / "new", "run.json") == tmp_path / "new"
    assert not (tmp_path / "new").exists()
    (tmp_path / ".run.json.partial").write_text("{")  # a write that a kill cut short
    assert claim_folder(tmp_path, "run.json") == tmp_path
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "other.txt").write_text("mine")
    claim_folder(tmp_path, "run.json")


@pytest.mark.parametrize("has_flag", [True, False], ids=["O_NOFOLLOW", "as on Windows"])
def test_only_a_file_itself_is_opened(has_flag, tmp_path, monkeypatch):
    if not has_flag:
        monkeypatch.delattr(os, "O_NOFOLLOW")
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    with open_regular(tmp_path / "file") as file:
        assert file.read() == b"x"
    for name in ("link", "pipe", ".", "none"):
        with pytest.raises(OSError, match=r"link|regular|No such"):
            open_regular(tmp_path / name)
