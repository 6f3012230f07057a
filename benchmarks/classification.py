"""What augmentation does for a small classifier, over many sets: few labels, unequal classes, digits and photographs.

    python benchmarks/classification.py --data-root ROOT

ROOT holds what torchvision's `MNIST(ROOT)` reads, and the folders `cifar10/train`, `cifar10/test` and
`clothing64/train`, one folder of image files a class. What is missing there is left out by `--sets`. Each seed of a set
is a piece of work of its own; what it finds is stored row by row, so a run that was stopped goes on.

Sets are in sets.py, rows in rows.py.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
from functools import partial
from pathlib import Path
from typing import Any

from common import RESULTS, draw_table, record, spread
from jobs import Job, Store, fill, in_processes
from rows import CONTROLS, QUICK, ROWS, Settings, Trial, rows_of, seconds
from sets import SETS, SMOKE, BenchmarkSet

# Controls that `tune` does not know.
NOT_RACED = ("pixel SMOTE", "geometric + colour jitter")
# A spread over fewer says nothing.
FEWEST_SEEDS = 3


def store_of(job: Job) -> Store:
    """Where its rows are; what `tune` is given stands beside each of its rows."""
    settings = {name: value for name, value in dataclasses.asdict(job.settings).items() if name != "tune"}
    return Store(job.work / "classification" / f"{job.name}-{job.seed}.json", settings)


def done(job: Job) -> dict[str, Any]:
    """Rows that were found before under the same settings; those of `tune` also under the same of its own."""
    tune = dataclasses.asdict(job.settings.tune)
    return {name: row for name, row in store_of(job).rows().items() if row.get("tune", tune) == tune}


def run(job: Job) -> Job:
    """Find the rows that are not there yet, storing each."""
    trial = Trial(job.name, known(job.name), job.seed, job.root, job.work, job.settings)
    rows = {name: partial(ROWS[name], trial) for name in job.rows}
    fill(store_of(job), job, done(job), rows, lambda row: f"{row['score']:6.2f} {row.get('answer', '')}")
    return job


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=[*SETS, *SMOKE], help="only these")
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS), help="only these")
    parser.add_argument("--seeds", type=int, help="instead of 5 on MNIST and 3 elsewhere")
    parser.add_argument("--jobs", type=int, default=2, help="seeds run at the same time, a thread each")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark"), help="for all that a stopped run keeps")
    parser.add_argument("--quick", action="store_true", help="hardly any training: does it run?")
    options = parser.parse_args()
    jobs = [job for name in options.sets for job in jobs_of(name, options)]
    total = sum(seconds(known(job.name), job.rows, job.settings) for job in jobs) / options.jobs
    print(f"{len(jobs)} seeds of {len(options.sets)} sets: about {total / 60:.0f} minutes without what is done")
    in_processes(run, jobs, options.jobs, partial(publish, quick=options.quick))


def known(name: str) -> BenchmarkSet:
    """The set of this name."""
    return {**SETS, **SMOKE}[name]


def jobs_of(name: str, options: argparse.Namespace) -> list[Job]:
    """One for each seed."""
    settings = QUICK if options.quick else Settings(tune=known(name).tune)
    rows = tuple(row for row in rows_of(known(name)) if row in options.rows)
    seeds = range(known(name).seeds if options.seeds is None else options.seeds)
    return [Job(name, seed, options.data_root, options.work, settings, rows) for seed in seeds]


def publish(jobs: list[Job], quick: bool) -> None:
    """Print what all seeds of one set have found by now; record and draw it where no seed is missing."""
    name = jobs[0].name
    found = [done(job) for job in jobs]
    complete = [row for row in rows_of(known(name)) if all(row in seed for seed in found)]
    rows = {row: together([seed[row] for seed in found]) for row in complete}
    print("\n".join([name, *table(rows)]), flush=True)
    if quick or name in SMOKE or len(jobs) < FEWEST_SEEDS:
        return
    settings = {
        "set": name,
        "metric": known(name).metric,
        "seeds": [job.seed for job in jobs],
        "own_autoencoder": known(name).own,
        "unlabelled_autoencoder": known(name).unlabelled,
        **dataclasses.asdict(jobs[0].settings),
    }
    record(f"classification-{name}", settings, rows)
    draw_table(f"classification-{name}", table(rows))
    draw_table("classification-summary", summary())


def together(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """One row over all seeds."""
    row = {**spread([seed["score"] for seed in seeds]), "seconds_a_run": statistics.mean(s["seconds"] for s in seeds)}
    if "answer" in seeds[0]:
        row["answers"] = [seed["answer"] for seed in seeds]
        row["best_setting"] = spread([seed["setting_score"] for seed in seeds])
        row["controls"] = [seed["control"] for seed in seeds]
        row["settings"] = [seed["setting"] for seed in seeds]
    return row


def table(rows: dict[str, Any]) -> list[str]:
    """Markdown lines of one set."""
    count = len(next(iter(rows.values()))["values"])
    lines = [
        f"| augmentation | %, {count} seeds | above none | above the best control, seed by seed | s a run |",
        "|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        gain = f"{row['mean'] - rows['none']['mean']:+.1f}" if name != "none" and "none" in rows else ""
        paired = in_short(above_best_control(rows, name)[1], "+") if gain and name not in CONTROLS else ""
        shown = name + (f" ({answers(row)})" if "answers" in row else "")
        lines.append(f"| {shown} | {in_short(row)} | {gain} | {paired} | {row['seconds_a_run']:.0f} |")
    return lines


def in_short(values: dict[str, Any], sign: str = "") -> str:
    """Mean and standard deviation."""
    return f"{values['mean']:{sign}.1f} ± {values['std']:.1f}"


def above_best_control(rows: dict[str, Any], row: str) -> tuple[str, dict[str, Any]]:
    """The control that came out best of those that are fair to a row, and by how much the row is above it."""
    controls = [name for name in CONTROLS if name in rows and is_fair(name, row)]
    best = max(controls, key=lambda name: rows[name]["mean"])
    return best, difference(rows[row], rows[best])


def difference(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """Of two rows, seed by seed."""
    return spread([a - b for a, b in zip(ours["values"], theirs["values"], strict=True)])


def answers(row: dict[str, Any]) -> str:
    """How often `tune` chose a latent setting, and what its best one gave, taken or not."""
    latent = sum(answer == "latent" for answer in row["answers"])
    best = row["best_setting"]
    return f"latent in {latent} of {len(row['answers'])}; its best setting {in_short(best)}"


def summary() -> list[str]:
    """Every set that is recorded: the best control, ours tuned, and by how much they differ over the seeds.

    The last column is what the best setting of the search would have given, whether `tune` took it or not.
    """
    lines = [
        "| set | best control | ours tuned | its answer: latent | above the control, seed by seed | its best setting |",
        "|---|---|---|---|---|---|",
    ]
    for name in SETS:
        path = RESULTS / f"classification-{name}.json"
        rows = json.loads(path.read_text())["rows"] if path.exists() else {}
        for row in (row for row in rows if "answers" in rows[row]):
            best, gain = above_best_control(rows, row)
            best_setting = difference(rows[row]["best_setting"], rows[best])
            latent = sum(answer == "latent" for answer in rows[row]["answers"])
            lines.append(
                f"| {name} | {best} {in_short(rows[best])} | {row.removeprefix('ours ')} {in_short(rows[row])} "
                f"| {latent} of {len(rows[row]['answers'])} | {in_short(gain, '+')} | {in_short(best_setting, '+')} |"
            )
    return lines


def is_fair(control: str, row: str) -> bool:
    """Whether a control may be held against a row: against one of `tune` only those that are in its race."""
    raced = control not in NOT_RACED and not ("geometric" in control and "without geometry" in row)
    return raced or "tuned" not in row


if __name__ == "__main__":
    main()
