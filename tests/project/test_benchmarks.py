"""The benchmarks run, and a run that was stopped goes on with what it had found."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
ROWS = ("RandAugment, affine", "gaussian(std=0.7), pretrained, then RandAugment, affine",
        "labels by latents and own predictions, then RandAugment, affine")  # fmt: skip


@pytest.fixture
def benchmark(monkeypatch):
    """Imports a script of benchmarks/."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


@pytest.fixture
def classification(benchmark):
    return benchmark("classification")


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on(classification, tmp_path, capsys):
    settings = classification.QUICK
    for rows in (ROWS[:1], ROWS):
        job = classification.run(classification.Job("digits-5", 0, "", tmp_path, settings, rows))
    found = json.loads((tmp_path / "classification" / "digits-5-0.json").read_text())["rows"]
    assert set(found) == set(ROWS)
    assert all(20 < row["score"] <= 100 for row in found.values())
    classification.publish([job], quick=True)
    printed = capsys.readouterr().out
    assert printed.count(f"seed 0  {ROWS[0]} ") == 1  # it was there already
    assert all(f"| {row} " in printed for row in ROWS)


def test_runs_that_share_a_seed_keep_the_rows_of_each_other(benchmark, tmp_path):
    jobs = benchmark("jobs")
    job = jobs.Job("digits-5", 0, "", tmp_path, None, ())
    store = jobs.Store(tmp_path / "rows.json", {})

    def while_another_run_stores(found):
        jobs.fill(store, job, {}, {"theirs": lambda found: {"score": 2.0}}, str)
        return {"score": 1.0}

    jobs.fill(store, job, {}, {"ours": while_another_run_stores}, str)
    assert {name: row["score"] for name, row in store.rows().items()} == {"theirs": 2.0, "ours": 1.0}


def test_a_record_keeps_rows_that_a_run_did_not_compute_unless_settings_differ(
    benchmark, classification, tmp_path, monkeypatch
):
    monkeypatch.setattr(benchmark("common"), "RESULTS", tmp_path)
    monkeypatch.setattr(classification, "draw_table", lambda marker, lines: None)
    path = tmp_path / "classification-digits-5.json"

    def publish(scores: dict[str, float], **changed) -> dict[str, float]:
        """Publish rows of three seeds, and return the mean of each recorded row."""
        monkeypatch.setattr(classification, "described", lambda known: changed)
        jobs = [classification.Job("digits-5", seed, "", tmp_path, classification.Settings(), ()) for seed in range(3)]
        for job in jobs:
            rows = {name: {"score": score, "seconds": 1.0} for name, score in scores.items()}
            classification.store_of(job).write(rows)
        classification.publish(jobs)
        return {name: row["mean"] for name, row in json.loads(path.read_text())["rows"].items()}

    assert publish({ROWS[1]: 2.0, "none": 3.0}) == {ROWS[1]: 2.0, "none": 3.0}
    assert list(publish({ROWS[0]: 1.0, "none": 4.0}).items()) == [(ROWS[0], 1.0), ("none", 4.0), (ROWS[1], 2.0)]
    assert publish({"none": 5.0}, steps=1) == {"none": 5.0}


@pytest.mark.slow
def test_a_benchmark_is_a_command(tmp_path):
    """As the benchmarks' README has it; the others share its way to run jobs."""
    command = [sys.executable, ROOT / "benchmarks" / "classification.py", "--data-root", tmp_path, "--work", tmp_path]
    options = ["--sets", "digits-5", "--seeds", "1", "--quick", "--rows", "none"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "| none | " in done.stdout


@pytest.mark.slow
def test_gans_are_measured_with_and_without_an_autoencoder(benchmark, tmp_path, capsys):
    gan, rows = benchmark("gan"), ("real", "training images", "conv", "ae-init")
    job = gan.Job("digits", 0, str(tmp_path), tmp_path, gan.settings_of("digits", "small"), rows)
    gan.prepare(gan.known("digits"), job.settings, job.root, gan.extractors_of(job))
    gan.publish([gan.run(job)])
    found = json.loads((tmp_path / "gan" / "digits-0.json").read_text())["rows"]
    assert set(found) == set(rows)
    printed = capsys.readouterr().out
    assert all(f"| {row} |" in printed for row in rows)
    assert found["real"]["fid"] < found["conv"]["fid"]
    assert found["real"]["high_frequencies"] > 0.5
    assert found["training images"]["nearest"] == 0 < found["training images"]["recall"]


def test_the_time_to_a_control_s_fid_counts_the_autoencoder(benchmark, monkeypatch):
    gan = benchmark("gan")

    def row(fids: list[float]) -> dict:
        return {"curves": [fids], "steps": [10, 20]}

    rows = {"dcgan": row([5.0, 4.0]), "ae-init": row([4.1, 3.0]), "conv": row([4.3, 4.3]), "real": {"fid": {}}}
    times = {
        name: {"ms": 500.0, "autoencoder_seconds": 2.0 * (name == "ae-init")} for name in ("dcgan", "ae-init", "conv")
    }
    monkeypatch.setattr(gan, "known_times", lambda: {"mnist-300": times})
    rows = gan.with_seconds("mnist-300", rows)
    assert gan.time_to(rows["dcgan"], rows["dcgan"]) == 10.0
    assert gan.time_to(rows["ae-init"], rows["dcgan"]) == 7.0  # within 5 % after 10 steps
    assert gan.share_of_time(rows["ae-init"], rows["dcgan"]) == "0.70"
    assert gan.share_of_time(rows["conv"], rows["dcgan"]) == "not reached"
    assert "seconds" not in rows["real"]
    assert gan.with_seconds("mnist-1000", {"conv": row([4.3, 4.3])}) == {"conv": row([4.3, 4.3])}


@pytest.mark.slow
def test_every_row_that_trains_a_gan_has_a_time(benchmark, tmp_path):
    times = benchmark("gan_times")
    found = times.measured("digits", str(tmp_path), times.settings_of("digits", "small"), rounds=1)
    assert list(found) == [name for name, row in times.ROWS.items() if isinstance(row, times.Training)]
    assert all(time["ms"] > 0 for time in found.values())
    assert found["ae-init"]["autoencoder_seconds"] > 0 == found["dcgan"]["autoencoder_seconds"]


def test_rows_are_held_against_the_best_control_that_is_allowed_the_same_images(classification):
    scores = {
        "none": [60.0, 70.0, 80.0],
        "affine": [70.0, 80.0, 90.0],
        "gaussian(std=0.7), own, then affine": [72.0, 82.0, 92.0],
        "labels by pixels, then affine": [80.0, 90.0, 95.0],
        "labels by latents, then affine": [81.0, 92.0, 98.0],
    }
    controls = {"none", "affine", "labels by pixels, then affine"}
    rows = {name: classification.spread(values) for name, values in scores.items()}
    for ours, control, gains in (
        ("gaussian(std=0.7), own, then affine", "affine", [2.0, 2.0, 2.0]),
        ("labels by latents, then affine", "labels by pixels, then affine", [1.0, 2.0, 3.0]),
    ):
        assert classification.best_control(rows, ours, controls) == control
        assert classification.above(rows[ours], rows[control])["values"] == gains
    assert classification.best_control({"none": rows["none"]}, "labels by latents, then affine", controls) is None


def test_what_needs_an_autoencoder_is_no_control(classification):
    known = classification.SETS["mnist-10"]  # which names its controls, so that no image is needed
    for row in classification.rows_of(known, None).values():
        needs = any(word in row.name for word in ("own,", "pretrained", "latents", "tune"))
        assert row.is_control == (not needs), row.name


@pytest.mark.slow
def test_the_gpu_benchmark_runs_whole_without_a_gpu(benchmark, tmp_path, monkeypatch, capsys):
    gpu = benchmark("gpu")
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--quick", "--out", str(tmp_path), "--minutes", "9"])
    assert gpu.main() == 0, capsys.readouterr().out
    parts = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    assert set(parts) == set(gpu.PARTS)
    assert all(part["figures"] and not part["failed"] and part["error"] is None for part in parts.values())
    assert parts["noise"]["figures"] == {"normal, equal bits": True, "uniform, equal bits": True}


def test_a_part_of_the_gpu_benchmark_that_fails_is_recorded_and_does_not_stop_the_others(
    benchmark, tmp_path, monkeypatch, capsys
):
    def breaks(place, found):
        found.figure("before", 1)
        raise RuntimeError("out of memory")

    def differs(place, found):
        found.check("difference", 0.5, False)

    gpu = benchmark("gpu")
    parts = {"breaks": breaks, "differs": differs, "works": lambda place, found: found.figure("speed", 2.5)}
    monkeypatch.setattr(gpu, "PARTS", parts)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--out", str(tmp_path)])
    assert gpu.main() == 1
    found = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in parts}
    assert "out of memory" in found["breaks"]["error"]
    assert found["breaks"]["figures"] == {"before": 1}
    assert found["differs"]["failed"] == ["difference"]
    assert "| speed | 2.5 |" in (tmp_path / "report.md").read_text()
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--only", "works"])
    assert gpu.main() == 0


def test_operations_of_a_network_are_counted(benchmark):
    cost = benchmark("cost")
    layer, images = torch.nn.Conv2d(3, 8, 3, padding=1), torch.rand(2, 3, 16, 16)
    found = cost.counted(lambda: layer(images).relu(), batch=2)
    macs = 8 * 3 * 3 * 3 * 16 * 16
    assert found.flops == 2 * macs
    elements = [images.numel() + 8 * 3 * 9 + 8 + 2 * 8 * 256, 2 * (2 * 8 * 256)]  # read and written
    slow_memory = cost.Machine("", flops=1e30, bandwidth=1.0)
    assert found.seconds(slow_memory) == pytest.approx(2 * sum(elements) / 2)
    slow_units = cost.Machine("", flops=1.0, bandwidth=1e30)
    assert found.seconds(slow_units) == pytest.approx(2 * macs)


def test_the_tables_of_the_speed_page_are_those_of_the_results(benchmark):
    speed, cost = benchmark("speed"), benchmark("cost")
    page = (ROOT / "docs" / "speed.md").read_text()
    reading = speed.load("shards")["32x32x3"]["read"]["images per second"]
    assert "\n".join(speed.table(speed.load("throughput"), reading)) in page
    assert "\n".join(cost.table(speed.load("cost")["predicted"])) in page
