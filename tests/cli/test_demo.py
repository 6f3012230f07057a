"""``augmentor demo``: the whole product in one folder, in one page, and a second call that goes on from there."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import math
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from PIL import Image

from augmentor import ShardDataset, load_autoencoder
from augmentor._internal.datasets import dataset_fingerprint
from augmentor.cli import main
from augmentor.cli._few_labels import CONTROLS, DRAWS, OURS, SPREAD, conclusion, labelled
from augmentor.cli.demo import _split
from augmentor.data import ArrayDataset, load_source
from augmentor.training import AutoencoderTrainer, train_classifier

ARGUMENTS = ["demo", "--steps", "78", "--device", "cpu"]
PICTURE = re.compile(r'src="data:image/png;base64,([A-Za-z0-9+/=]+)"')


@contextlib.contextmanager
def small() -> Iterator[ArrayDataset]:
    """The demo takes some of the digits and few steps; these digits."""
    digits = load_source("digits").subset(torch.arange(400))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("augmentor.data.load_source", lambda name: digits)
        patch.setattr("augmentor.cli.demo.CLASSIFIER_STEPS", 20)
        patch.setattr(warnings, "showwarning", warnings.showwarning)
        yield digits


def run(folder: Path) -> None:
    with small():
        main([*ARGUMENTS, "--out", str(folder)])


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """A folder that the demo filled; nobody changes it, but by calling the demo again."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    run(folder)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_the_folder_holds_every_part(demo):
    assert not [name for name in content(demo) if "partial" in name]
    assert load_autoencoder(demo / "autoencoder/model.safetensors").image_shape == (1, 8, 8)
    assert len(ShardDataset(demo / "shards")) == 180


@pytest.mark.slow
def test_nothing_learns_from_the_digits_held_out(demo):
    with small() as digits:
        images, test = _split(seed=0)
    assert len(images) + len(test) == len(digits)
    seen = {image.numpy().tobytes() for image in images.images}
    assert not any(image.numpy().tobytes() in seen for image in test.images)
    assert json.loads((demo / "autoencoder/run.json").read_text())["dataset"] == dataset_fingerprint(images)
    few = labelled(images, seed=0, draw=0)
    assert few.targets.bincount().tolist() == [5] * 10
    assert {image.numpy().tobytes() for image in few.images} <= seen
    assert json.loads((demo / "shards/manifest.json").read_text())["dataset_fingerprint"] == dataset_fingerprint(few)


@pytest.mark.slow
def test_the_page_holds_its_pictures_and_refers_to_nothing(demo):
    page = (demo / "report.html").read_text()
    pictures = [base64.b64decode(found, validate=True) for found in PICTURE.findall(page)]
    assert len(pictures) == 3
    assert (demo / "preview.png").read_bytes() in pictures
    for picture in map(Image.open, map(io.BytesIO, pictures)):
        assert len(picture.convert("L").getcolors(256)) > 2
    assert not re.search(r"https?:|//\w|@import|url\(|<link|<script|<iframe|src=|href=", PICTURE.sub("", page))


@pytest.mark.slow
def test_the_figures_are_complete_and_in_the_page(demo):
    page = (demo / "report.html").read_text()
    metrics = json.loads((demo / "metrics.json").read_text())
    assert metrics["digits"] == {"training": 220, "held_out": 180}
    assert metrics["autoencoder"]["verdict"] in ("poor", "fair", "good")
    assert 5 < metrics["autoencoder"]["psnr_db"] < 30
    for name in ("fd-smallnet", "kd-smallnet", "precision", "recall"):
        assert math.isfinite(metrics["shards"][name])
        assert math.isfinite(metrics["shards"]["floor"][name])
    assert metrics["accuracies"].keys() == {*CONTROLS, SPREAD, OURS}
    for name, row in metrics["accuracies"].items():
        assert len(row["draws"]) == DRAWS
        assert all(0 <= figure <= 100 for figure in row["draws"])
        assert f"<td>{name}</td><td>{row['mean']:.1f} ± {row['spread']:.1f}</td>" in page
    found = {name: row["draws"] for name, row in metrics["accuracies"].items()}
    assert metrics["conclusion"] == conclusion(found)
    for text in (metrics["conclusion"], f"{metrics['autoencoder']['psnr_db']:.1f} dB", "augmentor tune"):
        assert text in page


@pytest.mark.slow
def test_stopped_before_the_last_classifier_it_trains_that_alone_and_ends_the_same(demo, monkeypatch):
    before = content(demo)
    record = demo / "accuracies.json"
    figures = json.loads(record.read_text())
    figures[OURS].pop()
    record.write_text(json.dumps(figures))
    monkeypatch.setattr(AutoencoderTrainer, "_step", None)  # cannot be called
    trained = Mock(wraps=train_classifier)
    monkeypatch.setattr("augmentor.training.train_classifier", trained)
    run(demo)
    assert trained.call_count == 1
    after = content(demo)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} <= {"metrics.json"}  # it has the seconds it took


@pytest.mark.slow
def test_another_run_is_refused(demo, refused):
    before = content(demo)
    line = " ".join(ARGUMENTS)
    assert "steps: 78 stored, 3 given" in refused(f"{line} --steps 3 --out {demo}")
    assert "what: 'autoencoder' stored, 'demo' given" in refused(f"{line} --out {demo}/autoencoder")
    assert content(demo) == before


@pytest.mark.parametrize(
    ("ours", "said", "use"),
    [
        (
            [92.0, 94.0, 93.0],
            "3.0 ± 1.0 percentage points above that of BEST, a gain larger than the standard deviation",
            OURS,
        ),
        ([90.0, 92.0, 89.5], "0.5 ± 1.3 percentage points above that of BEST, within the standard deviation", "BEST"),
        ([89.5, 89.0, 90.0], "0.5 ± 0.5 percentage points below that of BEST, within the standard deviation", "BEST"),
        (
            [87.0, 88.0, 87.0],
            "2.7 ± 0.6 percentage points below that of BEST, a loss larger than the standard deviation",
            "BEST",
        ),
    ],
)
@pytest.mark.parametrize("best", [CONTROLS[1], SPREAD])
def test_the_conclusion_follows_the_figures(ours, said, use, best):
    found = {name: [80.0, 80.0, 80.0] for name in (*CONTROLS, SPREAD)} | {best: [90.0, 90.0, 90.0], OURS: ours}
    text = conclusion(found)
    assert said.replace("BEST", best) in text
    assert f". Use {use.replace('BEST', best)}{'.' if use == OURS else ': it needs no autoencoder.'}" in text
    assert SPREAD in text
