"""Functions that the fault scripts share: a process that generates shards, and the faults that are applied to it.

Children come from a forkserver that has imported all modules, so a trial takes a fraction of a second. The child
reports each file operation in the folder just before it happens, and each write when half of it is done. From this the
parent gets the phase of the child, and the child can apply a fault at the operation of a given number.
"""

from __future__ import annotations

import builtins
import functools
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from augmentor import LatentAugment, generate_shards
from augmentor._internal.files import sha256_file
from augmentor.data import load_source
from augmentor.shards import ShardEntry, read_manifest, read_partial

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["augmentor.cli", "augmentor.transform", "h5py", "sklearn.datasets"])

SETTINGS = {"num_samples": 2560, "shard_size": 64}
LOADING, STARTING, DECODING = "loading", "starting", "decoding, or waiting"
PHASES = (
    LOADING,
    STARTING,
    DECODING,
    "reading what is there",
    *(f"{verb} {what}" for what in ("a shard", "the journal", "the manifest") for verb in ("writing", "flushing")),
    *(f"{verb} {what}" for what in ("a shard", "the journal", "the manifest") for verb in ("naming", "removing")),
    "flushing the folder",
)
_REMOVING = [number for number, phase in enumerate(PHASES) if phase.startswith("removing")]


@functools.cache
def material() -> tuple[Any, LatentAugment]:
    """Return the digits and the transform."""
    return load_source("digits"), LatentAugment("digits", p=1.0)


def generate(folder: str | Path, **changes: Any) -> None:
    """Generate shards of the digits in `folder`."""
    generate_shards(*material(), folder, **{**SETTINGS, **changes})


class Child:
    """Process that runs `work(folder, **changes)` and reports its file operations in `folder`.

    at, befall: `befall(folder)` is called once in the child, before its file operation number `at`.
    """

    def __init__(
        self,
        folder: Path,
        work: Callable[..., Any] = generate,
        *,
        at: int | None = None,
        befall: Callable[[Path], Any] | None = None,
        **changes: Any,
    ):
        self._phase = SERVER.RawArray("i", 2)  # phase, and number of file operations so far
        arguments = (self._phase, folder, at, befall, work, changes)
        self.process: BaseProcess = SERVER.Process(target=_child, args=arguments)
        self.process.start()

    @property
    def phase(self) -> str:
        return PHASES[self._phase[0]]

    def await_start(self) -> None:
        """Wait until all modules are loaded and generation begins."""
        while self.phase == LOADING and self.process.is_alive():
            time.sleep(0.001)

    def join(self) -> int:
        """Wait for the end; return the exit code, negative for a signal."""
        self.process.join()
        code = self.process.exitcode
        assert code is not None
        return code

    def operations_at_end(self) -> int:
        """Wait for the end; return the number of file operations."""
        self.process.join()
        return self._phase[1]

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


def _child(phase: Any, folder: Path, at: int | None, befall: Any, work: Callable[..., Any], changes: Any) -> None:
    torch.set_num_threads(1)
    tqdm.set_lock(threading.RLock())  # the default is a system semaphore, which would remain after a kill
    material()
    phase[0] = PHASES.index(STARTING)
    watch = _Watch(phase, folder, at, befall)
    sys.addaudithook(watch)
    builtins.open = watch.open(open)  # audit events do not report writes
    os.fsync = watch.fsync(os.fsync)  # fsync has no audit event
    os.unlink = watch.unlink(os.unlink)  # its audit event reports only the beginning
    work(folder, **changes)


class _Watch:
    def __init__(self, phase: Any, folder: Path, at: int | None, befall: Any):
        self.phase, self.at, self.befall = phase, at, befall
        self.folder = folder.resolve()

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            writes = bool(set("wax+") & set(mode or "")) or bool((flags or 0) & (os.O_WRONLY | os.O_RDWR))
            self.begin("writing" if writes else "reading", path)
        elif event == "os.rename":
            self.begin("naming", arguments[1])
        elif event == "os.remove":
            self.begin("removing", arguments[0])

    def begin(self, verb: str, path: Any) -> None:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        path = Path(os.path.abspath(os.fsdecode(path)))
        if path.parent != self.folder or (verb == "reading" and not path.exists()):
            return
        what = _what(path.name)
        phase = "reading what is there" if verb == "reading" else f"{verb} {what}"
        self.phase[0] = PHASES.index(phase)
        if verb != "reading":
            self.count()

    def open(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def open(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            opened = real(file, mode, *arguments, **options)
            writes = set("wa") & set(mode) and not isinstance(file, int)
            return _InHalves(opened, self.count) if writes and Path(file).parent == self.folder else opened

        return open

    def fsync(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def fsync(descriptor: int) -> None:
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            what = "the folder" if path == self.folder else _what(path.name) if path.parent == self.folder else ""
            if what:
                self.phase[0] = PHASES.index(f"flushing {what}")
                self.count()
            real(descriptor)
            if what in ("the folder", "the journal"):  # the last operations of a shard
                self.phase[0] = PHASES.index(DECODING)

        return fsync

    def unlink(self, real: Callable[..., None]) -> Callable[..., None]:
        def unlink(path: Any, **options: Any) -> None:
            try:
                real(path, **options)
            finally:
                if self.phase[0] in _REMOVING:
                    self.phase[0] = PHASES.index(DECODING)

        return unlink

    def count(self) -> None:
        number = self.phase[1]
        self.phase[1] += 1
        if number == self.at:
            self.befall(self.folder)


class _InHalves:
    """File that is written in two halves, with a call between them."""

    def __init__(self, file: Any, between: Callable[[], None]):
        self._file, self._between = file, between

    def write(self, data: bytes) -> int:
        half = len(data) // 2
        count = self._file.write(data[:half])
        self._file.flush()
        self._between()
        return count + self._file.write(data[half:])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()


def _what(name: str) -> str:
    if "shard-" in name:
        return "a shard"
    return "the manifest" if name.lstrip(".").startswith("manifest.json") else "the journal"


# ---------------------------------------------------------------------------- faults to apply


def killed(folder: Path) -> None:
    """Send SIGKILL (kill -9) to this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def files_limited(folder: Path) -> None:
    """Limit files to 1,000 bytes from now on."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))


def permission_lost(folder: Path) -> None:
    """Make the folder read-only; root, to which permissions do not apply, becomes the user 65534."""
    folder.chmod(0o555)
    if os.geteuid() == 0:
        os.seteuid(65534)


def terminated(folder: Path) -> None:
    """Send SIGTERM, like a batch scheduler."""
    os.kill(os.getpid(), signal.SIGTERM)


def interrupted(folder: Path) -> None:
    """Send SIGINT, like Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)


# ---------------------------------------------------------------------------- checks afterwards


def undisturbed(folder: Path, **settings: Any) -> tuple[dict[str, bytes], float]:
    """Return the content of a folder of a run without faults, and the seconds that it took."""
    child = Child(folder, **settings)
    child.await_start()
    begin = time.perf_counter()
    assert child.join() == 0, "generation fails even without a kill"
    return content(folder), time.perf_counter() - begin


def content(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder, including hidden ones."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def faults(folder: Path, expected: dict[str, bytes]) -> list[str]:
    """Return the faults in a folder whose process was stopped; an empty list if there are none.

    A file with its final name must have the expected bytes, a listed file must match its hash, and a folder with a
    manifest must be complete.
    """
    found = []
    for path in folder.glob("shard-*") if folder.exists() else ():
        if path.read_bytes() != expected[path.name]:
            found.append(f"{path.name} differs")
    for entry in listed(folder):
        if sha256_file(folder / entry.file) != entry.sha256:
            found.append(f"{entry.file} is listed and fails its hash")
    if (folder / "manifest.json").exists():
        there = content(folder)
        found += [
            f"{name} is missing or differs beside a manifest" for name in expected if there.get(name) != expected[name]
        ]
    return found


def listed(folder: Path) -> list[ShardEntry]:
    """Return the entries of the manifest, and of the journals that exist during generation."""
    manifest, partial = folder / "manifest.json", read_partial(folder)
    entries = read_manifest(manifest).shards if manifest.exists() else ()
    return [*entries, *(partial.shards if partial is not None else ())]


def finished(folder: Path, expected: dict[str, bytes], **settings: Any) -> list[str]:
    """Resume to the end; return the differences to a folder without faults."""
    kept = {entry.file: (folder / entry.file).stat().st_mtime_ns for entry in listed(folder)}
    code, found = Child(folder, **settings).join(), content(folder)
    wrong = [f"resume ended with {code}"] if code else []
    wrong += [f"{name} differs" for name in expected if found.get(name) != expected[name]]
    wrong += [f"{name} is left over" for name in found if name not in expected]
    made_again = [name for name, moment in kept.items() if (folder / name).stat().st_mtime_ns != moment]
    return wrong + [f"{name} was finished and made again" for name in made_again]
