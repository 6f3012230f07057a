"""Time of the training steps of the rows of the GAN benchmark, measured in turn in one process.

    python benchmarks/gan_times.py --data-root ROOT

A round has 4 steps of each row of a set, and two short trainings of the autoencoder that `ae-init` starts from; the
time of a longer training is computed from them. A time is the median over rounds. What a method does before each 250
steps is divided among them; the evaluation after them is not counted. Rows with an adaptive p have the p of the first
step.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import tempfile
from functools import partial
from pathlib import Path

import torch
from common import RESULTS, Bench, draw_table, keep_memory, record
from gan_rows import ROWS, Settings, Training, Trial, scale_of, settings_of
from gan_sets import SETS, known

from augmentor._internal.engine import get_engine
from augmentor.gan import TrainingMethod, starting_autoencoder
from augmentor.gan.feed import Feed

NAME = "gan-times"
ROUNDS, STEPS = 5, 4
# Numbers of steps of the two short trainings of an autoencoder.
SHORT, LONG = 4, 20

Times = dict[str, dict[str, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS), help="only these")
    parser.add_argument("--scale", choices=["small", "full"], default="small", help="as in gan.py")
    options = parser.parse_args()
    keep_memory()
    torch.set_num_threads(1)
    for name in options.sets:
        settings = settings_of(name, options.scale)
        recorded = known_times() | {name + scale_of(name, settings): measured(name, options.data_root, settings)}
        record(NAME, {"rounds": ROUNDS, "steps": STEPS, "threads": 1}, recorded)
    draw_table(NAME, table(known_times()))


def known_times() -> dict[str, Times]:
    """Return the recorded times of each set and row: milliseconds per step, and seconds of the own autoencoder."""
    path = RESULTS / f"{NAME}.json"
    return json.loads(path.read_text())["rows"] if path.exists() else {}


def measured(name: str, root: str, settings: Settings, rounds: int = ROUNDS) -> Times:
    """Return the times of all rows of a set that train a GAN."""
    rows = {row: training for row, training in ROWS.items() if isinstance(training, Training)}
    with tempfile.TemporaryDirectory() as work:
        trial = Trial(name, known(name), 0, root, Path(work), Path(work), settings)
        few = dataclasses.replace(trial, settings=dataclasses.replace(settings, autoencoder_steps=2))
        methods = {row: prepared(training.untrained(few), few) for row, training in rows.items()}
        bench = Bench(trial.device, rounds)
        starts = bench.in_turn({row: partial(start_round, method) for row, method in methods.items()}, rounds=1)
        steps = bench.in_turn({row: Steps(method) for row, method in methods.items()})
        trainings = bench.in_turn({str(number): partial(train, trial, number) for number in (SHORT, LONG)})
    short, long = map(statistics.median, trainings.values())

    def per_step(row: str) -> float:
        return statistics.median(steps[row]) / STEPS + starts[row][0] / settings.round_steps

    def of_autoencoder(count: int) -> float:
        return short + (long - short) / (LONG - SHORT) * (count - SHORT) if count else 0.0

    return {
        row: {"ms": 1000 * per_step(row), "autoencoder_seconds": of_autoencoder(training.autoencoder_steps(trial))}
        for row, training in rows.items()
    }


def prepared(method: TrainingMethod, trial: Trial) -> TrainingMethod:
    """Give the method its data."""
    method.prepare(Feed(trial.draw.train, trial.settings.batch_size, 0, get_engine(trial.device), labelled=True))
    return method


def start_round(method: TrainingMethod) -> None:
    method.start_round(0, method.generator)


class Steps:
    """The next steps of a training at each call."""

    def __init__(self, method: TrainingMethod):
        self.method, self.done = method, 0

    def __call__(self) -> None:
        for number in range(self.done, self.done + STEPS):
            self.method.step(number)
        self.done += STEPS


def train(trial: Trial, steps: int) -> None:
    """Train the autoencoder that `ae-init` starts from."""
    batch_size = trial.settings.batch_size
    starting_autoencoder(trial.draw.train, steps=steps, batch_size=batch_size, device=trial.device, progress=False)


def table(times: dict[str, Times]) -> list[str]:
    """Return Markdown lines: milliseconds per step of each row, and seconds of the autoencoder of `ae-init`."""
    sets = {name: times[name] for name in SETS if name in times}
    lines = [f"| | {' | '.join(sets)} |", "|---" * (1 + len(sets)) + "|"]
    for row in next(iter(sets.values()), {}):
        lines.append(f"| {row}, ms | {' | '.join(format(found[row]['ms'], '.0f') for found in sets.values())} |")
    cells = (f"{found['ae-init']['autoencoder_seconds']:.0f}" for found in sets.values())
    return [*lines, f"| **autoencoder of `ae-init`, s** | {' | '.join(cells)} |"]


if __name__ == "__main__":
    main()
