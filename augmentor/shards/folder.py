"""The folder that is being filled, by one process or by several that know nothing of each other.

Each writer has its own units and its own journal. Whoever finds every unit recorded writes the manifest, and removes
the journals. Two that find it at once write the same bytes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from .._internal.files import claim_folder
from .._internal.progress import progress_bar
from ..exceptions import OutputError, ShardError
from .journal import Journal, holds_shards, journal_name, journals, read_journal, read_journals, unless_gone
from .manifest import MANIFEST, PARTIALS, Manifest, ShardEntry, differences, read_manifest
from .verify import check_size, verify_shard

_POLL = 0.2  # seconds at least between looks at what other writers have recorded


def claim(path: Path, resume: bool) -> Path:
    """`path` as a place for shards: absent, empty, or begun by an earlier call; `OutputError` otherwise."""
    with _output_errors(path):
        if not resume and path.is_dir() and holds_shards(path):
            raise OutputError(f"{path} holds shards already; name another folder, or go on with resume=True")
        return claim_folder(path, MANIFEST, PARTIALS)


def begun_as(folder: Path) -> Manifest | None:
    """The settings that a folder's manifest, or else a journal, was begun with; None where there is neither."""
    with _output_errors(folder):
        manifest = unless_gone(read_manifest, folder / MANIFEST)
        return manifest or next((settings for settings, _ in read_journals(folder)), None)


class Filling:
    """One writer's view of the folder.

    asked: the settings, without shards. own: the units that this writer makes. After the start `missing` are those of
    them that are not there yet, and `finished` those that are.
    """

    def __init__(self, folder: Path, asked: Manifest, own: range, progress: bool = False):
        self.folder, self.asked, self.own = folder, asked, own
        self._journal: Journal | None = None
        self.finished: dict[int, ShardEntry] = {}
        with _output_errors(folder):
            self.missing = self._begin(progress)

    def _begin(self, progress: bool) -> list[int]:
        """Keep what is intact, open our journal, and tell what is missing."""
        folder, own = self.folder, self.own
        complete, recorded = self._recorded()
        known = [unit for unit in own if unit in recorded]
        bar = progress_bar(known, desc="checking", unit="shard", leave=False, show=progress)
        self.finished = {unit: entry for unit in bar if (entry := self._intact(unit, recorded.pop(unit)))}
        missing = [unit for unit in own if unit not in self.finished]
        if complete and not missing:
            if len(own) == self.asked.num_shards:  # otherwise another writer may be about to mend its part
                self._tidy()
            return []
        # A manifest that promised what is missing has to go; what it says of other writers' units must not be lost.
        # After a kill they are in the journal of ours that the new one takes the place of.
        path = folder / journal_name(own, self.asked.num_shards)
        before = None if complete else unless_gone(read_journal, path)
        ours = set() if before is None else set(before[1])
        others = [entry for entries in recorded.values() for entry in entries if complete or entry in ours]
        try:
            self._journal = Journal(path, self.asked, [*self.finished.values(), *others])
        except FileNotFoundError:
            return self._begin(progress)  # another writer has completed the folder
        try:
            self._recorded()  # again, now that a writer who begins at this moment can see us
        except OutputError:
            path.unlink(missing_ok=True)
            raise
        self._remove_temporary(missing)
        if complete:
            (folder / MANIFEST).unlink(missing_ok=True)
        return missing

    def record(self, entry: ShardEntry) -> None:
        """A shard of this writer is in place."""
        assert self._journal is not None
        self._journal.add(entry)
        self.finished[entry.unit] = entry

    def finish(self) -> bool:
        """Write the manifest if every unit is there; whether the folder is complete now."""
        with _output_errors(self.folder):
            return self._journal is None or self._complete()

    def _complete(self) -> bool:
        _, recorded = self._recorded()
        entries = [self._present(unit, recorded.get(unit, ())) for unit in range(self.asked.num_shards)]
        if None in entries:
            return (self.folder / MANIFEST).exists()
        whole = self.asked.with_shards(*(entry for entry in entries if entry is not None))
        try:
            whole.write(self.folder / MANIFEST)
        except OutputError:
            if not (self.folder / MANIFEST).exists():  # another writer finished at the same moment
                raise
        self._tidy()
        return True

    def wait_for(self, units: Iterable[int]) -> None:
        """Until others have recorded these units. A launcher such as torchrun ends us if one of them fails."""
        waiting = set(units) - self.finished.keys()
        while waiting and not (self.folder / MANIFEST).exists():
            began = time.monotonic()
            _, recorded = self._recorded()
            waiting = {unit for unit in waiting if self._present(unit, recorded.get(unit, ())) is None}
            if waiting:
                time.sleep(max(_POLL, 10 * (time.monotonic() - began)))  # a record of many shards takes a while to read

    def close(self) -> None:
        """Close the journal."""
        if self._journal is not None:
            self._journal.close()

    def _recorded(self) -> tuple[bool, dict[int, set[ShardEntry]]]:
        """Whether there is a manifest, and what it or else the journals say of each unit.

        Usually that is one entry; two GPUs of different make may have made one unit in turn. `OutputError` where the
        folder was made with other settings.
        """
        path = self.folder / MANIFEST
        manifest = unless_gone(read_manifest, path)
        found: list[tuple[Manifest, Sequence[ShardEntry]]] = []
        if manifest is None:
            found = [*read_journals(self.folder)]
            manifest = unless_gone(read_manifest, path)  # a journal that is gone by now has become part of it
        if manifest is not None:
            found = [(manifest, manifest.shards)]
        recorded: dict[int, set[ShardEntry]] = {}
        for settings, entries in found:
            if changed := differences(settings, self.asked):
                raise OutputError(
                    f"{self.folder} holds shards made with other settings ({changed}); "
                    "name another folder, or ask for the same"
                )
            for entry in entries:
                recorded.setdefault(entry.unit, set()).add(entry)
        return manifest is not None, recorded

    def _intact(self, unit: int, entries: Iterable[ShardEntry]) -> ShardEntry | None:
        """The entry that the file fits, byte for byte. A file that fits none is removed, so nobody counts it in."""
        for entry in entries:
            with contextlib.suppress(ShardError):
                verify_shard(self.folder / entry.file, entry)
                return entry
        (self.folder / self.asked.file_name(unit)).unlink(missing_ok=True)
        return None

    def _present(self, unit: int, entries: Iterable[ShardEntry]) -> ShardEntry | None:
        """The entry of a unit whose file is there. Who recorded it had its bytes in hand, so its size is enough."""
        own = self.finished.get(unit)
        known = {*entries, own} if own else {*entries}
        look = check_size if len(known) == 1 else verify_shard
        for entry in known:
            with contextlib.suppress(ShardError):
                look(self.folder / entry.file, entry)
                return entry
        return None

    def _tidy(self) -> None:
        for path in journals(self.folder):
            path.unlink(missing_ok=True)
        self._remove_temporary()

    def _remove_temporary(self, units: Iterable[int] | None = None) -> None:
        """What killed writers left of these units; of all, and of the manifests, where the folder is complete."""
        names = None if units is None else {self.asked.file_name(unit) for unit in units}
        for path in self.folder.glob(".*.partial"):
            name = path.name[1:].removesuffix(".partial").rpartition(".")[0]
            if name in names if names is not None else name.startswith(("shard-", "manifest.")):
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def _output_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"cannot write to {folder}: {error.strerror or error}") from error
