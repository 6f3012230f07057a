"""The record of a generation under way: appended line by line, and readable whatever a kill leaves of it."""

from __future__ import annotations

import dataclasses
import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_manifest import BASE, entry

from augmentor.exceptions import OutputError, ShardError
from augmentor.shards import holds_shards, read_partial
from augmentor.shards.journal import Journal, journal_name, journals, read_journal

UNITS = [entry(unit) for unit in range(3)]


def test_round_trip_and_the_names_of_several_writers(tmp_path):
    for units in (range(3), range(1, 3), range(0, 3, 2)):
        journal = Journal(tmp_path / journal_name(units, 3), BASE, UNITS[:1])
        before, inode = journal.path.read_bytes(), journal.path.stat().st_ino
        journal.add(UNITS[1])  # appends a line; what is there is not written again
        assert journal.path.read_bytes().startswith(before)
        assert journal.path.read_bytes().count(b"\n") == 3
        assert journal.path.stat().st_ino == inode
        assert read_journal(journal.path) == (BASE, UNITS[:2])
        journal.close()
    assert [path.name for path in journals(tmp_path)] == [
        "manifest.partial-00000-00003-2.jsonl", "manifest.partial-00001-00003.jsonl", "manifest.partial.jsonl",
    ]  # fmt: skip
    assert holds_shards(tmp_path)
    assert read_partial(tmp_path) == BASE.with_shards(*UNITS[:2])
    assert read_partial(tmp_path / "absent") is None


def test_no_room_for_a_line_is_an_output_error(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "manifest.partial.jsonl", BASE, [])

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        journal.add(UNITS[0])
    journal.close()


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    journal = Journal(tmp_path_factory.mktemp("journal") / "manifest.partial.jsonl", BASE, UNITS)
    journal.close()
    return journal.path.read_bytes()


@given(st.data())
def test_every_truncation_keeps_the_whole_lines(text, tmp_path_factory, data):
    length = data.draw(st.integers(0, len(text)))
    path = tmp_path_factory.mktemp("journal") / "manifest.partial.jsonl"
    path.write_bytes(text[:length])
    first = text.index(b"\n")
    if length < first:
        with pytest.raises(ShardError, match=r"partial\.jsonl"):
            read_journal(path)
    else:
        _, entries = read_journal(path)
        assert len(entries) - text[first + 1 : length].count(b"\n") in (0, 1)  # the last newline may be missing
        assert entries == UNITS[: len(entries)]


@given(st.data())
def test_damage_gives_planned_entries_or_a_shard_error(text, tmp_path_factory, data):
    damaged = bytearray(text)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("journal") / "manifest.partial.jsonl"
    path.write_bytes(damaged)
    try:
        settings, entries = read_journal(path)
    except ShardError:
        return
    assert all(dataclasses.asdict(settings.planned(one)) == one.fields() for one in entries)
