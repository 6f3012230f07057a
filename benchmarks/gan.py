"""GANs on few images: the training methods and augmentations of the package beside DiffAugment, ADA and none.

    python benchmarks/gan.py --data-root ROOT

ROOT as in classification.py. Each seed of a set is a piece of work of its own; what it finds is stored row by row, so a
run that was stopped goes on. On two cores all images have 16 pixels a side; `--scale full` is for an accelerator.

Sets are in gan_sets.py, rows in gan_rows.py.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

from common import RESULTS, draw_table, record, spread
from gan_rows import CONTROLS, OURS, QUICK, REFERENCES, ROWS, Settings, Trial, full, prepare
from gan_sets import SETS, SMOKE, GANSet
from jobs import Job, Store, fill, in_processes

from augmentor._internal.files import write_bytes

SEEDS = 3
SCORES = ("fid", "kid", "precision", "recall", "called_decoded", "high_frequencies")


def extractors_of(job: Job) -> Path:
    """Where the weights that measure are; they are published with the results."""
    return job.work / "gan" if job.name in SMOKE else RESULTS


def store_of(job: Job) -> Store:
    """Where its rows are."""
    return Store(job.work / "gan" / f"{job.name}-{job.seed}.json", dataclasses.asdict(job.settings))


def run(job: Job) -> Job:
    """Find the rows that are not there yet, storing each."""
    trial = Trial(job.name, known(job.name), job.seed, job.root, job.work, extractors_of(job), job.settings)
    rows = {name: lambda _, name=name: ROWS[name](trial) for name in job.rows}
    fill(store_of(job), job, store_of(job).rows(), rows, lambda row: f"FID {row['last']['fid']:7.2f}")
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


def known(name: str) -> GANSet:
    """The set of this name."""
    return {**SETS, **SMOKE}[name]


def jobs_of(name: str, options: argparse.Namespace) -> list[Job]:
    """One for each seed."""
    settings, rows = settings_of(name, options.scale), tuple(row for row in rows_of(name) if row in options.rows)
    return [Job(name, seed, options.data_root, options.work, settings, rows) for seed in range(options.seeds)]


def rows_of(name: str) -> tuple[str, ...]:
    """The names of a set's rows."""
    return known(name).rows or tuple(ROWS)


def settings_of(name: str, scale: str) -> Settings:
    """What two cores can bear, or an accelerator."""
    if name in SMOKE:
        return QUICK
    return full(known(name).full_side) if scale == "full" else Settings(steps=known(name).steps)


def publish(jobs: list[Job]) -> None:
    """Print what all seeds of one set have found by now; record and draw it where no seed is missing."""
    job, found = jobs[0], [store_of(job).rows() for job in jobs]
    rows = {row: together([seed[row] for seed in found]) for row in rows_of(job.name) if all(row in f for f in found)}
    print("\n".join([job.name, *table(rows), "", *leaks(rows)]), flush=True)
    if job.name in SMOKE or len(jobs) < SEEDS:
        return
    scale = "" if job.settings == settings_of(job.name, "small") else "-full"
    name = f"gan-{job.name}{scale}"
    settings = {"set": job.name, "seeds": [job.seed for job in jobs], **dataclasses.asdict(job.settings)}
    settings |= {"autoencoder": known(job.name).autoencoder, "images": known(job.name).count}
    record(name, settings, rows)
    draw_table(name, [*table(rows), "", *leaks(rows), "", f"![FID as training goes on](results/{name}.png)"])
    write_bytes(RESULTS / f"{name}.png", curves(job.name, rows))
    draw_table("gan-summary", summary())


def together(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """One row over all seeds."""
    row: dict[str, Any] = {
        when: {name: spread([seed[when][name] for seed in seeds]) for name in SCORES} for when in ("last", "best")
    }
    for name in ("p", "probe_accuracy", "seconds", "autoencoder_seconds"):
        if name in seeds[0]:
            row[name] = spread([seed[name] for seed in seeds])
    if "curve" in seeds[0]:
        row["parameters"] = seeds[0]["parameters"]
        row["curve"] = {"images": [at for at, _ in seeds[0]["curve"]],
                        "fid": [[fid for _, fid in seed["curve"]] for seed in seeds]}  # fmt: skip
    return row


def table(rows: dict[str, Any]) -> list[str]:
    """Markdown lines: how near samples come to held-out images."""
    lines = [
        "| | FID | best FID | KID | precision | recall | parameters | CPU s a run |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        last = row["last"]
        size = f"{row['parameters'] / 1e6:.2f} M" if "parameters" in row else ""
        seconds = row["seconds"]["mean"] if "curve" in row else 0
        lines.append(
            f"| {name} | {shown(last['fid'])} | {shown(row['best']['fid']) if 'curve' in row else ''} "
            f"| {shown(last['kid'])} | {shown(last['precision'], digits=2)} | {shown(last['recall'], digits=2)} "
            f"| {size} | {f'{seconds:.0f}' if seconds else ''} |"
        )
    return lines


def leaks(rows: dict[str, Any]) -> list[str]:
    """Markdown lines: do samples look decoded, and have they the high frequencies of real images?"""
    lines = ["| | called decoded, % | high frequencies, of real | p at the end |", "|---|---|---|---|"]
    for name, row in rows.items():
        last, p = row["last"], row.get("p")
        lines.append(f"| {name} | {shown(last['called_decoded'])} | {shown(last['high_frequencies'], digits=2)} "
                     f"| {shown(p, digits=2) if p else ''} |")  # fmt: skip
    if "real" in rows:
        lines += ["", f"The probe tells {shown(rows['real']['probe_accuracy'])} % of held-out images right."]
    return lines


def shown(value: dict[str, Any], digits: int = 1) -> str:
    """Mean and standard deviation over the seeds."""
    return f"{value['mean']:.{digits}f} ± {value['std']:.{digits}f}"


def summary() -> list[str]:
    """Every set that is recorded: the best of ours beside the controls, at the best snapshot and at the end."""
    lines = [
        f"| set | FID | {' | '.join(CONTROLS)} | best of ours | of diffaugment | of none |",
        f"|---|---|{'---|' * len(CONTROLS)}---|---|---|",
    ]
    for name in SETS:
        path = RESULTS / f"gan-{name}.json"
        rows = json.loads(path.read_text())["rows"] if path.exists() else {}
        for when, text in (("best", "best snapshot"), ("last", "end")):
            fid = {row: found[when]["fid"] for row, found in rows.items()}
            ours = [row for row in OURS if row in fid]
            if not ours or "none" not in fid:
                continue
            best = min(ours, key=lambda row: fid[row]["mean"])
            below = {row: f"{fid[best]['mean'] / fid[row]['mean']:.2f}" for row in CONTROLS if row in fid}
            shares = f"{below.get('diffaugment', '')} | {below['none']}"
            controls = " | ".join(shown(fid[row]) if row in fid else "" for row in CONTROLS)
            lines.append(f"| {name} | {text} | {controls} | {best} {shown(fid[best])} | {shares} |")
    return lines


def curves(name: str, rows: dict[str, Any]) -> bytes:
    """A PNG picture: FID against images seen, controls dashed; what needs no GAN as lines across."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.8), dpi=110, layout="constrained")
    axis = figure.subplots()
    for row in rows:
        if "curve" in rows[row]:
            images, seeds = rows[row]["curve"]["images"], rows[row]["curve"]["fid"]
            means = [sum(values) / len(values) for values in zip(*seeds, strict=True)]
            (line,) = axis.plot(images, means, "--" if row in CONTROLS else "-", label=row, marker=".")
            axis.fill_between(images, *(list(map(f, zip(*seeds, strict=True))) for f in (min, max)),
                              color=line.get_color(), alpha=0.12, linewidth=0)  # fmt: skip
    for row, style in zip(REFERENCES, (":", "-", "-.", "--"), strict=True):
        if row in rows:
            axis.axhline(rows[row]["last"]["fid"]["mean"], color="grey", linestyle=style, linewidth=1, label=row)
    axis.set(xlabel="images seen", ylabel="FID against held-out images", yscale="log", title=name)
    axis.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


if __name__ == "__main__":
    main()
