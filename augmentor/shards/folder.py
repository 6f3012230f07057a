"""A folder that is filled by one process, or by several that do not communicate.

Each writer has its own units and its own journal. A writer that finds all units recorded writes the manifest and
removes the journals. Two writers that do so at once write the same bytes.
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

_POLL = 0.2  # minimum seconds between reads of the journals of other writers


def claim(path: Path, resume: bool) -> Path:
    """Return `path` if it is new, empty, or was started by an earlier call; raise `OutputError` otherwise."""
    with _output_errors(path):
        if not resume and path.is_dir() and holds_shards(path):
            raise OutputError(f"{path} already contains shards; choose another folder, or use resume=True")
        return claim_folder(path, MANIFEST, PARTIALS)


def begun_as(folder: Path) -> Manifest | None:
    """Return the settings of the manifest of a folder, or else of a journal; None without either."""
    with _output_errors(folder):
        manifest = unless_gone(read_manifest, folder / MANIFEST)
        return manifest or next((settings for settings, _ in read_journals(folder)), None)


class Filling:
    """State of the folder for one writer.

    asked: requested settings, without shards. own: units of this writer. missing: units of `own` to be made. finished:
    entries of the finished units.
    """

    def __init__(self, folder: Path, asked: Manifest, own: range, progress: bool = False):
        self.folder, self.asked, self.own = folder, asked, own
        self._journal: Journal | None = None
        self.finished: dict[int, ShardEntry] = {}
        with _output_errors(folder):
            self.missing = self._begin(progress)

    def _begin(self, progress: bool) -> list[int]:
        """Keep intact shards, open the journal of this writer, and return the missing units."""
        folder, own = self.folder, self.own
        complete, recorded = self._recorded()
        known = [unit for unit in own if unit in recorded]
        bar = progress_bar(known, desc="checking", unit="shard", leave=False, show=progress)
        self.finished = {unit: entry for unit in bar if (entry := self._intact(unit, recorded.pop(unit)))}
        missing = [unit for unit in own if unit not in self.finished]
        if complete and not missing:
            if len(own) == self.asked.num_shards:  # else another writer may be repairing its part
                self._tidy()
            return []
        # A manifest that lists missing shards is removed, but its entries for units of other writers are kept. After a
        # kill, these entries are in the old journal of this writer, which the new journal replaces.
        path = folder / journal_name(own, self.asked.num_shards)
        before = None if complete else unless_gone(read_journal, path)
        ours = set() if before is None else set(before[1])
        others = [entry for entries in recorded.values() for entry in entries if complete or entry in ours]
        try:
            self._journal = Journal(path, self.asked, [*self.finished.values(), *others])
        except FileNotFoundError:
            return self._begin(progress)  # another writer has completed the folder
        try:
            self._recorded()  # again, because a writer that starts from now on reads this journal
        except OutputError:
            path.unlink(missing_ok=True)
            raise
        self._remove_temporary(missing)
        if complete:
            (folder / MANIFEST).unlink(missing_ok=True)
        return missing

    def record(self, entry: ShardEntry) -> None:
        """Record a written shard of this writer."""
        assert self._journal is not None
        self._journal.add(entry)
        self.finished[entry.unit] = entry

    def finish(self) -> bool:
        """Write the manifest if all units are finished; return whether the folder is complete."""
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
            if not (self.folder / MANIFEST).exists():  # else another writer has just written it
                raise
        self._tidy()
        return True

    def wait_for(self, units: Iterable[int]) -> None:
        """Wait until these units are recorded. A launcher such as torchrun ends this process if another one fails."""
        waiting = set(units) - self.finished.keys()
        while waiting and not (self.folder / MANIFEST).exists():
            began = time.monotonic()
            _, recorded = self._recorded()
            waiting = {unit for unit in waiting if self._present(unit, recorded.get(unit, ())) is None}
            if waiting:
                time.sleep(max(_POLL, 10 * (time.monotonic() - began)))  # long journals are slow to read

    def close(self) -> None:
        """Close the journal."""
        if self._journal is not None:
            self._journal.close()

    def _recorded(self) -> tuple[bool, dict[int, set[ShardEntry]]]:
        """Return whether there is a manifest, and the entries of each unit in it or else in the journals.

        A unit has several entries if different GPUs made it, one after the other. Raises `OutputError` if the folder
        was made with other settings.
        """
        path = self.folder / MANIFEST
        manifest = unless_gone(read_manifest, path)
        found: list[tuple[Manifest, Sequence[ShardEntry]]] = []
        if manifest is None:
            found = [*read_journals(self.folder)]
            manifest = unless_gone(read_manifest, path)  # if a journal was removed meanwhile
        if manifest is not None:
            found = [(manifest, manifest.shards)]
        recorded: dict[int, set[ShardEntry]] = {}
        for settings, entries in found:
            if changed := differences(settings, self.asked):
                raise OutputError(
                    f"{self.folder} holds shards made with other settings ({changed}); "
                    "choose another folder, or use its settings"
                )
            for entry in entries:
                recorded.setdefault(entry.unit, set()).add(entry)
        return manifest is not None, recorded

    def _intact(self, unit: int, entries: Iterable[ShardEntry]) -> ShardEntry | None:
        """Return the entry that matches all bytes of the file. A file without such an entry is deleted."""
        for entry in entries:
            with contextlib.suppress(ShardError):
                verify_shard(self.folder / entry.file, entry)
                return entry
        (self.folder / self.asked.file_name(unit)).unlink(missing_ok=True)
        return None

    def _present(self, unit: int, entries: Iterable[ShardEntry]) -> ShardEntry | None:
        """Return the entry of a unit whose file exists. A single entry is compared by size only, several by hash."""
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
        """Remove temporary files of killed writers for these units. Default: for all units and the manifest."""
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
