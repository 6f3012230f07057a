"""Functions that all benchmarks share: the record of a run, and the tables that are drawn from the records."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
Seconds = dict[str, list[float]]
# With these variables, which it reads when a process starts, glibc keeps freed memory. Otherwise it returns large
# blocks to the system, depending on the sizes of earlier blocks, and the same work takes up to 1.3 times as long.
KEPT_MEMORY = {"MALLOC_TRIM_THRESHOLD_": "4000000000", "MALLOC_MMAP_THRESHOLD_": "4000000000"}


def keep_memory() -> None:
    """Start this program again with `KEPT_MEMORY`, unless it has these variables."""
    if not KEPT_MEMORY.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | KEPT_MEMORY)


class Bench:
    """A device, a number of rounds, and a clock that waits for the device."""

    def __init__(self, device: torch.device | str, rounds: int):
        self.device, self.rounds = torch.device(device), rounds

    def clock(self) -> float:
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)
        return time.perf_counter()

    def in_turn(self, contenders: dict[str, Callable[[], Any]], rounds: int | None = None, calls: int = 1) -> Seconds:
        """Return seconds per call of each contender in each round, after a warm-up round."""
        seconds: Seconds = {name: [] for name in contenders}
        for number in range((self.rounds if rounds is None else rounds) + 1):
            for name, contender in contenders.items():
                begin = self.clock()
                for _ in range(calls):
                    contender()
                if number:
                    seconds[name].append((self.clock() - begin) / calls)
        return seconds


def record(name: str, settings: Mapping[str, Any], rows: Mapping[str, Any]) -> Path:
    """Write results to results/NAME.json with the command, settings, seeds, machine and versions; return the path."""
    path = RESULTS / f"{name}.json"
    document = {
        "benchmark": name,
        "command": " ".join(["python", *(_public(argument) for argument in sys.argv)]),
        "settings": dict(settings),
        "machine": machine(),
        "rows": dict(rows),
    }
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path


def record_more(
    name: str, settings: Mapping[str, Any], rows: Mapping[str, Any], order: Iterable[str]
) -> dict[str, Any]:
    """Record rows together with those that results/NAME.json has with the same settings; return all, in this order.

    Each row contains its processor, because the rows of a record can be from several machines.
    """
    path = RESULTS / f"{name}.json"
    earlier = json.loads(path.read_text()) if path.exists() else {"settings": {}}
    known = earlier["rows"] if earlier["settings"] == json.loads(json.dumps(settings)) else {}
    known = {row: {"processor": earlier["machine"]["processor"], **found} for row, found in known.items()}
    known |= {row: {"processor": processor(), **found} for row, found in rows.items()}
    together = {row: known[row] for row in order if row in known}
    record(name, settings, together)
    return together


def machine() -> dict[str, Any]:
    """Return the processor, the device and the versions."""
    packages = ("torch", "torchvision", "numpy", "scikit-learn", "imbalanced-learn", "optuna", "latent-augmentor")
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "python": platform.python_version(),
        **{package: _version(package) for package in packages},
    }


def spread(values: list[float]) -> dict[str, Any]:
    """Return the mean, the standard deviation over seeds, and the values."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.mean(values), "std": deviation, "values": values}


def draw_table(marker: str, lines: list[str], page: Path = HERE / "README.md") -> None:
    """Replace the text between the comments of the marker on a page, by default benchmarks/README.md."""
    begin, end = f"<!-- {marker} -->", f"<!-- end {marker} -->"
    text = page.read_text()
    if begin not in text:  # the page does not show these settings; their record is in results/
        return
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    page.write_text(before + begin + "\n" + "\n".join(lines) + "\n" + end + after)


def processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        import augmentor

        return augmentor.__version__ if package == "latent-augmentor" else "absent"  # a checkout that is not installed


def _public(argument: str) -> str:
    """Return an argument without the folders of this machine."""
    path = Path(argument).resolve()
    return (
        path.relative_to(HERE.parent).as_posix()
        if path.is_file() and path.is_relative_to(HERE)
        else Path(argument).name
    )
