"""A full disk, a lost permission or a signal while shards are generated.

    python benchmarks/faults/disk_full.py

Each is applied to a separate process just before one of its file operations or halfway through a write, at several
operations of the run. After a full disk or a lost permission, Python must raise `OutputError`, and the command must
print one line and exit with code 2. After a signal, the command must print one line and exit with the shell's code for
the signal. Finished shards stay intact. When the cause is removed, the same call completes the folder to the same names
and bytes as an undisturbed run. The disk is full by a file-size limit, or by a small tmpfs. Mounting a tmpfs requires
root; without it that row is left out with a message.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent))

from common import draw_table, record
from trial import (
    SETTINGS,
    Child,
    content,
    faults,
    files_limited,
    finished,
    generate,
    interrupted,
    permission_lost,
    terminated,
    undisturbed,
)

from augmentor.cli import main as command

SMALL = {"num_samples": 480, "shard_size": 64}
MEGABYTE = 1 << 20
CODES = {terminated: 128 + signal.SIGTERM, interrupted: 128 + signal.SIGINT}


def call(folder: Path, answer: Path, **settings: Any) -> None:
    """Generate shards; write the type and text of an error to the file `answer`."""
    with open(answer, "w") as said:  # opened before the permission is lost
        try:
            generate(folder, **settings)
        except Exception as error:
            said.write(f"{type(error).__name__}: {error}")
            raise SystemExit(1) from None


def call_command(folder: Path, answer: Path, **settings: Any) -> None:
    """Generate shards with ``augmentor generate``; write its stderr to `answer`."""
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    with open(answer, "w") as stderr, contextlib.redirect_stderr(stderr), contextlib.redirect_stdout(None):
        command(["generate", "digits", "--autoencoder=digits", f"--out={folder}", *options])


def befallen(where: Path, befall: Callable[[Path], Any], work: Callable[..., Any], places: int) -> dict[str, Any]:
    """Apply the fault before `places` operations, spread over the run."""
    expected, _ = undisturbed(where / "undisturbed", **SMALL)
    count = Child(where / "counted", **SMALL).operations_at_end()
    ends, wrong = {}, []
    for at in sorted({round(place * (count - 1) / max(places - 1, 1)) for place in range(places)}):
        folder, answer = where / f"{befall.__name__}-{work.__name__}-{at}", where / "answer"
        folder.mkdir()
        answer.write_text("")
        child = Child(folder, work, at=at, befall=befall, answer=answer, **SMALL)
        code, said = child.join(), answer.read_text().replace(str(folder), "FOLDER").strip()
        folder.chmod(0o755)
        ends[f"before operation {at}, {child.phase}"] = f"exit code {code}; {said or 'no word'}"
        wrong += [f"before operation {at}: {fault}" for fault in faults(folder, expected)]
        wrong += [f"before operation {at}: {fault}" for fault in _ending(folder, code, said, befall, work)]
        wrong += [f"before operation {at}: {fault}" for fault in finished(folder, expected, **SMALL)]
    return {"runs": len(ends), "ends": ends, "wrong": wrong}


def _ending(folder: Path, code: int, said: str, befall: Callable[[Path], Any], work: Callable[..., Any]) -> list[str]:
    """Return what is wrong with the end of the process."""
    if code == 0:
        return [] if (folder / "manifest.json").exists() and not said else [f"exit code 0; {said or 'not complete'}"]
    if work is call:
        return [] if said.startswith("OutputError: ") else [f"no OutputError: {said}"]
    expected = CODES.get(befall, 2)
    return [] if code == expected and said.startswith("error: ") and "\n" not in said else [f"exit {code}: {said}"]


def disk_fills(where: Path, size: int = MEGABYTE) -> dict[str, Any] | None:
    """Run on a file system that is too small and is enlarged later; None if mounting is not allowed."""
    settings = {"num_samples": 4 * MEGABYTE // 64, "shard_size": 4096}  # 64 bytes per image
    expected, _ = undisturbed(where / "undisturbed-large", **settings)
    disk, answer, wrong = where / "disk", where / "answer", []
    with small_disk(disk, size) as mounted:
        if not mounted:
            return None
        folder = disk / "shards"
        code = Child(folder, call, answer=answer, **settings).join()
        said, there = answer.read_text().replace(str(folder), "FOLDER"), content(folder)
        wrong += faults(folder, expected) + _ending(folder, code, said, files_limited, call)
        subprocess.run(["mount", "-o", f"remount,size={size * 16}", disk], check=True)
        wrong += finished(folder, expected, **settings)
    kept = sum(name.startswith("shard-") for name in there)
    return {"runs": 1, "ends": {f"{kept} of {len(expected) - 1} shards kept": said}, "wrong": wrong}


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[bool]:
    """Mount a tmpfs of `size` bytes while the block runs; yield False if it cannot be mounted."""
    folder.mkdir()
    made = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], stderr=subprocess.DEVNULL
        ).returncode
    )
    try:
        yield made
    finally:
        if made:
            subprocess.run(["umount", folder], check=True)


ROWS = {
    "file-size limit": (files_limited, call),
    "file-size limit, command": (files_limited, call_command),
    "lost permission": (permission_lost, call),
    "lost permission, command": (permission_lost, call_command),
    "SIGTERM, command": (terminated, call_command),
    "SIGINT, command": (interrupted, call_command),
}


def table(rows: dict[str, Any]) -> list[str]:
    """Return the lines for benchmarks/README.md, with the middle one of the ends of the runs."""
    lines = ["| what happened | runs | faults | such as |", "|---|---|---|---|"]
    for name, row in rows.items():
        end = list(row["ends"].values())[len(row["ends"]) // 2]
        lines.append(f"| {name} | {row['runs']} | {len(row['wrong'])} | {end} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--places", type=int, default=15, help="number of operations to apply the fault at")
    places = parser.parse_args().places
    rows = {}
    for name, (befall, work) in ROWS.items():
        with tempfile.TemporaryDirectory() as where:
            rows[name] = befallen(Path(where), befall, work, places)
    with tempfile.TemporaryDirectory() as where:
        filled = disk_fills(Path(where))
    if filled is None:
        print("full tmpfs: left out, because mounting is not allowed here")
    else:
        rows["full tmpfs"] = filled
    lines = table(rows)
    print("\n".join(lines))
    for name, row in rows.items():
        for fault in row["wrong"]:
            print(f"FAULT {name}: {fault}")
    record("faults-disk-full", {**SETTINGS, **SMALL, "places": places}, rows)
    draw_table("faults-disk-full", lines)
    sys.exit(any(row["wrong"] for row in rows.values()))


if __name__ == "__main__":
    main()
