"""GANs on few images: training methods that start from an autoencoder, against GANs with random initial weights.

    python benchmarks/gan.py --data-root ROOT

ROOT is that of classification.py. Each seed of a set is one job. Results are stored row by row, so a stopped run
resumes. `--scale full` is for a GPU.

Sets are in gan_sets.py, rows in gan_rows.py. Times are computed from those that gan_times.py has measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import statistics
from pathlib import Path
from typing import Any

from common import RESULTS, draw_table, record_more, spread
from gan_rows import CONTROLS, REFERENCES, ROWS, Trial, prepare, scale_of, settings_of
from gan_sets import SETS, SMOKE, known
from gan_times import known_times
from jobs import Job, Store, fill, in_processes

from augmentor._internal.files import write_bytes

SEEDS = 3
# A control counts as reached within 5 % of its lowest FID, because a flat curve has its minimum at a random time.
REACHED = 1.05
# The row that is compared with the controls: the default of `augmentor train-gan`.
DEFAULT = "ae-init"
SCORES = ("fid", "kid", "precision", "recall", "nearest", "called_decoded", "high_frequencies")


def extractors_of(job: Job) -> Path:
    """Return the folder of the weights of the feature extractor, which are published with the results."""
    return job.work / "gan" if job.name in SMOKE else RESULTS


def store_of(job: Job) -> Store:
    """Return the file of the rows of a job."""
    name = f"{job.name}{scale_of(job.name, job.settings)}-{job.seed}.json"
    return Store(job.work / "gan" / name, dataclasses.asdict(job.settings))


def run(job: Job) -> Job:
    """Compute the rows that are not stored yet, and store each."""
    trial = Trial(job.name, known(job.name), job.seed, job.root, job.work, extractors_of(job), job.settings)
    rows = {name: lambda _, name=name: ROWS[name](trial) for name in job.rows}
    fill(store_of(job), job, store_of(job).rows(), rows, lambda row: f"FID {row['fid']:7.2f}")
    return job


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=[*SETS, *SMOKE], help="only these")
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS), help="only these")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--jobs", type=int, default=2, help="seeds run at the same time, a thread each")
    parser.add_argument("--scale", choices=["small", "full"], default="small", help="full: for an accelerator")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark"), help="for all that a stopped run keeps")
    options = parser.parse_args()
    jobs = [job for name in options.sets for job in jobs_of(name, options)]
    for job in {job.name: job for job in jobs}.values():
        prepare(known(job.name), job.settings, job.root, extractors_of(job))
    in_processes(run, jobs, options.jobs, publish)


def jobs_of(name: str, options: argparse.Namespace) -> list[Job]:
    """Return one job per seed."""
    settings, rows = settings_of(name, options.scale), tuple(row for row in ROWS if row in options.rows)
    return [Job(name, seed, options.data_root, options.work, settings, rows) for seed in range(options.seeds)]


def publish(jobs: list[Job]) -> None:
    """Print the rows that all seeds of a set have. If no seed is missing, record and draw them and earlier rows."""
    job, found = jobs[0], [store_of(job).rows() for job in jobs]
    rows = {row: together([seed[row] for seed in found]) for row in ROWS if all(row in f for f in found)}
    print("\n".join([job.name, *table(rows), "", *leaks(rows)]), flush=True)
    if job.name in SMOKE or len(jobs) < SEEDS:
        return
    name = f"gan-{job.name}{scale_of(job.name, job.settings)}"
    settings = {"set": job.name, "seeds": [job.seed for job in jobs], **dataclasses.asdict(job.settings)}
    settings |= {"pretrained": known(job.name).pretrained, "images": known(job.name).count}
    rows = with_seconds(job.name + scale_of(job.name, job.settings), record_more(name, settings, rows, ROWS))
    draw_table(name, [*table(rows), "", *leaks(rows), "", f"![FID as training goes on](results/{name}.png)"])
    write_bytes(RESULTS / f"{name}.png", curves(job.name, rows))
    draw_table("gan-summary", summary())


def together(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Combine the results of all seeds of a row."""
    measured = (*SCORES, "accuracy", "p", "probe_accuracy")
    row = {name: spread([seed[name] for seed in seeds]) for name in measured if name in seeds[0]}
    row["processor"] = ", ".join(sorted({seed["processor"] for seed in seeds}))
    if "curve" in seeds[0]:
        row["parameters"] = seeds[0]["parameters"]
        row["steps"] = [step for step, _ in seeds[0]["curve"]]
        row["curves"] = [[fid for _, fid in seed["curve"]] for seed in seeds]
    return row


def with_seconds(name: str, rows: dict[str, Any]) -> dict[str, Any]:
    """Return the rows of a set with the time of each point of their curves, if gan_times.py has measured it.

    The training of the autoencoder is included.
    """
    times, timed = known_times().get(name, {}), dict(rows)
    for row in times.keys() & rows.keys():
        before, step = times[row]["autoencoder_seconds"], times[row]["ms"] / 1000
        timed[row] = {**rows[row], "seconds": [before + step * number for number in rows[row]["steps"]]}
    return timed


def time_to(row: dict[str, Any], control: dict[str, Any]) -> float | None:
    """Return the mean seconds until each seed of a row reaches the control; None if a seed does not reach it."""
    times = []
    for curve, reference in zip(row["curves"], control["curves"], strict=True):
        reached = [at for at, fid in zip(row["seconds"], curve, strict=True) if fid <= REACHED * min(reference)]
        if not reached:
            return None
        times.append(reached[0])
    return sum(times) / len(times)


def best_control(rows: dict[str, Any]) -> str | None:
    """Return the control whose generator has the lowest FID."""
    controls = [name for name in CONTROLS if name in rows]
    return min(controls, key=lambda name: rows[name]["fid"]["mean"]) if controls else None


def table(rows: dict[str, Any]) -> list[str]:
    """Return Markdown lines: scores against held-out images, and training times."""
    lines = [
        "| | FID | FID after the last step | KID | precision | recall | nearest | parameters | seconds "
        "| seconds until within 5 % of the FID of the best control |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    control = best_control(rows)
    for name, row in rows.items():
        last, cost = "", " | | "
        if "curves" in row:
            last = shown(spread([curve[-1] for curve in row["curves"]]))
            cost = f"{row['parameters'] / 1e6:.2f} M | {time_cells(row, rows[control]) if control else ' | '}"
        scores = " | ".join(
            [shown(row["kid"]), *(shown(row[score], 2) for score in ("precision", "recall", "nearest"))]
        )
        lines.append(f"| {name} | {shown(row['fid'])} | {last} | {scores} | {cost} |")
    return lines


def time_cells(row: dict[str, Any], control: dict[str, Any]) -> str:
    """Return the cells of the seconds of a row, and of the seconds until it reaches a control."""
    if "seconds" not in row:
        return " | "
    reached = time_to(row, control)
    return f"{row['seconds'][-1]:.0f} | {'not reached' if reached is None else f'{reached:.0f}'}"


def leaks(rows: dict[str, Any]) -> list[str]:
    """Return Markdown lines: leak test, high frequencies, and accuracy of a classifier.

    The classifier is trained on the real images and, for a GAN, on as many generated ones.
    """
    lines = [
        "| | called decoded, % | high frequencies, of real | p at the end | accuracy of a classifier, % |",
        "|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        p, accuracy = (
            shown(row[score], digits) if score in row else "" for score, digits in (("p", 2), ("accuracy", 1))
        )
        decoded, high = shown(row["called_decoded"]), shown(row["high_frequencies"], 2)
        lines.append(f"| {name} | {decoded} | {high} | {p} | {accuracy} |")
    if "real" in rows:
        lines += ["", f"The probe classifies {shown(rows['real']['probe_accuracy'])} % of held-out images correctly."]
    return lines


def shown(value: dict[str, Any], digits: int = 1) -> str:
    """Return the mean and the standard deviation over the seeds as text."""
    return f"{value['mean']:.{digits}f} ± {value['std']:.{digits}f}"


def summary() -> list[str]:
    """Return Markdown lines: for every recorded set the default and the best control.

    Shares are of the control's lowest FID, and of its time.
    """
    lines = [
        f"| set | best control | FID | FID of `{DEFAULT}` | share | share after the last step "
        "| time to within 5 % of the control's FID, share |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in SETS:
        path = RESULTS / f"gan-{name}.json"
        rows = with_seconds(name, json.loads(path.read_text())["rows"]) if path.exists() else {}
        control = best_control(rows)
        if control is None or DEFAULT not in rows:
            continue
        theirs, mine = rows[control], rows[DEFAULT]
        last = spread([curve[-1] for curve in mine["curves"]])
        shares = " | ".join(f"{score['mean'] / theirs['fid']['mean']:.2f}" for score in (mine["fid"], last))
        shares += f" | {share_of_time(mine, theirs)}"
        lines.append(f"| {name} | {control} | {shown(theirs['fid'])} | {shown(mine['fid'])} | {shares} |")
    return lines


def share_of_time(row: dict[str, Any], control: dict[str, Any]) -> str:
    """Return the time until a row reaches the control, relative to that of the control itself."""
    if "seconds" not in row:
        return ""
    reached, took = time_to(row, control), time_to(control, control)
    return "not reached" if reached is None else f"{reached / took:.2f}"


def curves(name: str, rows: dict[str, Any]) -> bytes:
    """Return a PNG: FID against seconds, controls dashed; rows without a GAN as horizontal lines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.8), dpi=110, layout="constrained")
    axis = figure.subplots()
    for row, found in rows.items():
        if "seconds" in found:
            seeds = list(zip(*found["curves"], strict=True))
            style = "--" if row in CONTROLS else "-"
            (line,) = axis.plot(found["seconds"], list(map(statistics.mean, seeds)), style, label=row, marker=".")
            low, high = list(map(min, seeds)), list(map(max, seeds))
            axis.fill_between(found["seconds"], low, high, color=line.get_color(), alpha=0.12, linewidth=0)
    for row, style in zip(REFERENCES, (":", "-", "-.", "--"), strict=True):
        if row in rows:
            axis.axhline(rows[row]["fid"]["mean"], color="grey", linestyle=style, linewidth=1, label=row)
    axis.set(xlabel="seconds on one core, with the training of the autoencoder",
             ylabel="FID against held-out images", yscale="log", title=name)  # fmt: skip
    axis.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


if __name__ == "__main__":
    main()
