"""What the fault scripts share: a process that generates shards, and what befalls it.

Children come from a forkserver that has imported everything, so that a trial costs a fraction of a second. In the
child every file operation in the folder is seen just before it happens, and every write when one half of it is done.
That tells the parent how far the child is, and can let something befall it at the operation of a given number.
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
    """The digits, and what augments them."""
    return load_source("digits"), LatentAugment("digits", p=1.0)


def generate(folder: str | Path, **changes: Any) -> None:
    """Shards of the digits in `folder`."""
    generate_shards(*material(), folder, **{**SETTINGS, **changes})


class Child:
    """A process that runs `work(*arguments, **changes)`, watched for what it does to `folder`.

    at, befall: `befall(folder)` is called in the child before its file operation number `at`, once.
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
        self._phase = SERVER.RawArray("i", 2)  # where it is, and how many file operations it has begun
        arguments = (self._phase, folder, at, befall, work, changes)
        self.process: BaseProcess = SERVER.Process(target=_child, args=arguments)
        self.process.start()

    @property
    def phase(self) -> str:
        return PHASES[self._phase[0]]

    def await_start(self) -> None:
        """Wait until everything is loaded and generation begins."""
        while self.phase == LOADING and self.process.is_alive():
            time.sleep(0.001)

    def join(self) -> int:
        """Wait for its end; its exit code, negative for a signal."""
        self.process.join()
        code = self.process.exitcode
        assert code is not None
        return code

    def operations_at_end(self) -> int:
        """Wait for its end; how many file operations it made."""
        self.process.join()
        return self._phase[1]

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


def _child(phase: Any, folder: Path, at: int | None, befall: Any, work: Callable[..., Any], changes: Any) -> None:
    torch.set_num_threads(1)
    tqdm.set_lock(threading.RLock())  # its own is a semaphore of the operating system, which would outlive a kill
    material()
    phase[0] = PHASES.index(STARTING)
    watch = _Watch(phase, folder, at, befall)
    sys.addaudithook(watch)
    builtins.open = watch.open(open)  # events do not say what is written, nor when
    os.fsync = watch.fsync(os.fsync)  # which has no event
    os.unlink = watch.unlink(os.unlink)  # whose event says when it begins, not when it ends
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
            if what in ("the folder", "the journal"):  # after which nothing is left to do for a shard
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
    """A file that is written in two halves, with a call between them."""

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


# ---------------------------------------------------------------------------- what may befall the child


def killed(folder: Path) -> None:
    """kill -9."""
    os.kill(os.getpid(), signal.SIGKILL)


def files_limited(folder: Path) -> None:
    """From now on no file may be longer than 1,000 bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))


def permission_lost(folder: Path) -> None:
    """From now on the folder may be read only; root, whom permissions do not bind, becomes nobody."""
    folder.chmod(0o555)
    if os.geteuid() == 0:
        os.seteuid(65534)


def terminated(folder: Path) -> None:
    """SIGTERM, as from a batch scheduler."""
    os.kill(os.getpid(), signal.SIGTERM)


def interrupted(folder: Path) -> None:
    """SIGINT, as from Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)


# ---------------------------------------------------------------------------- what is found afterwards


def undisturbed(folder: Path, **settings: Any) -> tuple[dict[str, bytes], float]:
    """The content of a folder that nothing befell, and the seconds it took."""
    child = Child(folder, **settings)
    child.await_start()
    begin = time.perf_counter()
    assert child.join() == 0, "generation fails even without a kill"
    return content(folder), time.perf_counter() - begin


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def faults(folder: Path, expected: dict[str, bytes]) -> list[str]:
    """What is wrong in a folder whose process was stopped; an empty list if it is as promised.

    A file under its own name is whole, so has the expected bytes; whatever is listed fits its hash; and a folder
    with a manifest is complete.
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
    """What the manifest lists, and the journals that generation keeps while it is under way."""
    manifest, partial = folder / "manifest.json", read_partial(folder)
    entries = read_manifest(manifest).shards if manifest.exists() else ()
    return [*entries, *(partial.shards if partial is not None else ())]


def finished(folder: Path, expected: dict[str, bytes], **settings: Any) -> list[str]:
    """Go on to the end; what differs from the folder without a kill."""
    kept = {entry.file: (folder / entry.file).stat().st_mtime_ns for entry in listed(folder)}
    code, found = Child(folder, **settings).join(), content(folder)
    wrong = [f"resume ended with {code}"] if code else []
    wrong += [f"{name} differs" for name in expected if found.get(name) != expected[name]]
    wrong += [f"{name} is left over" for name in found if name not in expected]
    made_again = [name for name, moment in kept.items() if (folder / name).stat().st_mtime_ns != moment]
    return wrong + [f"{name} was finished and made again" for name in made_again]
