"""Test accuracy of classifiers with latent and standard augmentations, on sets of images and series.

    python benchmarks/classification.py --data-root ROOT

ROOT contains what torchvision's `MNIST(ROOT)` reads, and the folders `cifar10/train`, `cifar10/test` and
`clothing64/train`, each with one folder of image files per class. Use `--sets` to leave out sets whose files are
missing. Each seed of a set is one job. Results are stored row by row, so a stopped run resumes.

On draws that are not reported, `--plateau` trains the first control of each set with half, all and twice its steps, and
`--search` tries policies and settings in front of it.

Sets are in sets.py, rows in rows.py.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from functools import partial
from pathlib import Path
from typing import Any

from common import draw_table, record_more, spread
from jobs import Job, Store, fill, in_processes
from rows import QUICK, Row, Settings, Trial, rows_of, searched
from sets import SETS, BenchmarkSet

from augmentor._internal.registry import did_you_mean
from augmentor.exceptions import UnknownNameError

# Draws on which settings are chosen; the reported draws start at 0.
SEARCH_SEEDS = (100, 101)
# A standard deviation over fewer seeds is not informative.
FEWEST_SEEDS = 3


def trial_of(job: Job) -> Trial:
    return Trial(SETS[job.name], job.seed, job.root, job.work, job.settings)


def store_of(job: Job) -> Store:
    """Return the file of the rows of a job."""
    known = SETS[job.name]
    settings = {**dataclasses.asdict(job.settings), **described(known)}
    return Store(job.work / "classification" / f"{job.name}-{job.seed}.json", settings)


def described(known: BenchmarkSet) -> dict[str, Any]:
    """Return the settings of a set that its rows depend on."""
    return {
        "metric": known.metric, "network": known.network.__name__, "steps": known.steps, "lr": known.lr,
        "batch_size": known.batch_size, "own_autoencoder": known.own, "pretrained": known.pretrained,
    }  # fmt: skip


def run(job: Job) -> Job:
    """Compute the rows that are not stored yet, and store each."""
    trial = trial_of(job)
    named = all_rows(job, trial)
    for name in job.rows:
        if name not in named:
            raise UnknownNameError(f"unknown row {name!r} of {job.name}{did_you_mean(name, named)}")
    rows = {name: partial(lambda row, found: trial.run(row), named[name]) for name in job.rows or named}
    store = store_of(job)
    fill(store, job, store.rows(), rows, lambda row: f"{row['score']:6.2f} {row.get('answer', '')}")
    return job


def all_rows(job: Job, trial: Trial) -> dict[str, Row]:
    """Return the rows of the tables; for draws that are not reported, those of `--plateau` and `--search`."""
    if job.seed not in SEARCH_SEEDS:
        return rows_of(trial.set, trial)
    return plateau(job, trial) | searched(trial.set, trial)


def plateau(job: Job, trial: Trial) -> dict[str, Row]:
    """Return the first control with half, all and twice its steps."""
    best = next(iter(rows_of(trial.set, trial).values()))
    steps = (job.settings.steps or trial.set.steps) // 2
    rows = [dataclasses.replace(best, steps=steps * factor) for factor in (1, 2, 4)]
    return {row.name: row for row in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS), help="sets (default: all)")
    parser.add_argument("--rows", nargs="*", default=(), help="rows (default: all)")
    parser.add_argument("--seeds", type=int, help="number of seeds (default: that of the set)")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--plateau", action="store_true", help="train the first control with fewer and more steps")
    other.add_argument("--search", action="store_true", help="try policies and settings on draws that are not reported")
    parser.add_argument("--jobs", type=int, default=2, help="number of seeds that run at the same time")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark"), help="folder for what a stopped run keeps")
    parser.add_argument("--quick", action="store_true", help="very short training, to test the program")
    options = parser.parse_args()
    jobs = [job for name in options.sets for job in jobs_of(name, options)]
    in_processes(run, jobs, options.jobs, partial(publish, quick=options.quick))


def jobs_of(name: str, options: argparse.Namespace) -> list[Job]:
    """Return one job per seed."""
    settings = QUICK if options.quick else Settings()
    seeds = range(SETS[name].seeds if options.seeds is None else options.seeds)
    chosen, rows = seeds, tuple(options.rows)
    if options.plateau or options.search:
        chosen, first = SEARCH_SEEDS, Job(name, SEARCH_SEEDS[0], options.data_root, options.work, settings, ())
        found = plateau(first, trial_of(first)) if options.plateau else searched(SETS[name], trial_of(first))
        rows = rows or tuple(found)
    return [Job(name, seed, options.data_root, options.work, settings, rows) for seed in chosen]


def publish(jobs: list[Job], quick: bool = False) -> None:
    """Print the rows that all seeds of a set have. If no seed is missing, record and draw them and earlier rows."""
    name = jobs[0].name
    known = all_rows(jobs[0], trial_of(jobs[0]))
    found = [store_of(job).rows() for job in jobs]
    wanted = jobs[0].rows if jobs[0].seed in SEARCH_SEEDS else tuple(known)
    complete = {row: together([seed[row] for seed in found]) for row in wanted if all(row in seed for seed in found)}
    controls = {row for row in known if known[row].is_control}
    print("\n".join([name, *table(complete, controls)]), flush=True)
    searching = jobs[0].seed in SEARCH_SEEDS
    if quick or (len(jobs) < FEWEST_SEEDS and not searching):
        return
    kind = "" if not searching else "-plateau" if "steps" in jobs[0].rows[0] else "-search"
    marker = f"classification-{name}{kind}"
    settings = {"set": name, "seeds": [job.seed for job in jobs], **store_of(jobs[0]).settings}
    draw_table(marker, table(record_more(marker, settings, complete, known), controls))


def together(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Combine the results of all seeds of a row."""
    row = {**spread([seed["score"] for seed in seeds]), "seconds_a_run": statistics.mean(s["seconds"] for s in seeds)}
    for name in ("images", "labels_right"):
        if name in seeds[0]:
            row[name] = statistics.mean(seed[name] for seed in seeds)
    for name in ("answer", "reason", "setting"):
        if name in seeds[0]:
            row[f"{name}s"] = [seed[name] for seed in seeds]
    return row


def table(rows: dict[str, Any], controls: set[str]) -> list[str]:
    """Return Markdown lines of one set. Rows with unlabelled images are compared with controls that use them too."""
    if not rows:
        return []
    count = len(next(iter(rows.values()))["values"])
    lines = [
        f"| | %, {count} seeds | above the best control, seed by seed | seconds | images seen, thousands |",
        "|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        best = None if name in controls else best_control(rows, name, controls)
        gain = in_short(above(rows[name], rows[best]), "+") if best else "control" if name in controls else ""
        right = f" ({100 * row['labels_right']:.1f} % of them right)" if "labels_right" in row else ""
        images = f"{row['images'] / 1000:.0f}" if "images" in row else ""
        lines.append(f"| {name}{right} | {in_short(row)} | {gain} | {row['seconds_a_run']:.0f} | {images} |")
    return lines


def in_short(values: dict[str, Any], sign: str = "") -> str:
    """Return the mean and the standard deviation as text."""
    return f"{values['mean']:{sign}.1f} ± {values['std']:.1f}"


def best_control(rows: dict[str, Any], row: str, controls: set[str]) -> str | None:
    """Return the best control among those that use the same images as the row."""
    fair = [name for name in rows if name in controls and name.startswith("labels by") == row.startswith("labels by")]
    return max(fair, key=lambda name: rows[name]["mean"], default=None)


def above(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """Return the difference of two rows per seed."""
    return spread([one - other for one, other in zip(ours["values"], theirs["values"], strict=True)])


if __name__ == "__main__":
    main()
