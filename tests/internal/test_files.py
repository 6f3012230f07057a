"""Whole or absent: what is written, and where."""

from __future__ import annotations

import hashlib
import json
import os

import pytest

from augmentor._internal.files import claim_folder, sha256_file, write_bytes, write_json
from augmentor.exceptions import OutputError


def test_bytes_arrive_whole_and_nothing_else_is_left(tmp_path):
    write_bytes(tmp_path / "new" / "deep" / "a.bin", b"123")
    assert (tmp_path / "new" / "deep" / "a.bin").read_bytes() == b"123"
    assert os.listdir(tmp_path / "new" / "deep") == ["a.bin"]


def test_a_file_is_replaced_and_its_reader_keeps_the_old_one(tmp_path):
    write_bytes(tmp_path / "a", b"old")
    with open(tmp_path / "a", "rb") as reader:
        write_bytes(tmp_path / "a", b"new")
        assert reader.read() == b"old"
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_write_that_fails_leaves_the_old_file_and_no_partial_one(tmp_path, monkeypatch):
    write_bytes(tmp_path / "a", b"old")

    def full_disk(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OutputError, match=r"cannot write .*No space left"):
        write_bytes(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_path_that_cannot_be_a_file_is_an_output_error(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    for path in (tmp_path / "folder", tmp_path / "file" / "inside", tmp_path / "file" / "in" / "side"):
        with pytest.raises(OutputError, match="cannot write"):
            write_bytes(path, b"1")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_json_is_readable_text(tmp_path):
    write_json(tmp_path / "a.json", {"name": "é", "n": [1, 2]})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"name": "é", "n": [1, 2]}
    assert "é" in text
    assert text.endswith("\n")


def test_sha256_is_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_file(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_a_folder_can_be_claimed_when_new_empty_or_ours(tmp_path):
    assert claim_folder(tmp_path / "new", "run.json") == tmp_path / "new"
    assert not (tmp_path / "new").exists()
    assert claim_folder(tmp_path, "run.json") == tmp_path
    (tmp_path / ".run.json.partial").write_text("{")  # a write that a kill cut short
    claim_folder(tmp_path, "run.json")
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "other.txt").write_text("mine")
    claim_folder(tmp_path, "run.json")


def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path):
    for name in "abcd":
        (tmp_path / name).write_text("mine")
    with pytest.raises(OutputError, match=r"holds other things \(a, b, c, \.\.\.\).*name another"):
        claim_folder(tmp_path, "run.json")
    with pytest.raises(OutputError, match="is a file"):
        claim_folder(tmp_path / "a", "run.json")
    assert sorted(os.listdir(tmp_path)) == list("abcd")


@pytest.mark.parametrize("place", [".", "", "/"])
def test_a_folder_is_no_name_of_a_file(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match="it is a folder; expected the name of a file"):
        write_bytes(place, b"x")


def test_what_is_renamed_is_on_the_disk_before_and_its_name_after(tmp_path, monkeypatch):
    done = []
    sync, replace = os.fsync, os.replace

    def synced(handle):
        done.append("folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "file")
        sync(handle)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", lambda *names: done.append("rename") or replace(*names))
    write_bytes(tmp_path / "a", b"x")
    assert done == ["file", "rename", "folder"]
