"""``augmentor demo``: the whole product in one folder, in one page, and a second call that goes on from there."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image

from augmentor import ShardDataset, load_autoencoder
from augmentor.cli import main
from augmentor.data import load_source
from augmentor.gan import GAN, load_generator
from augmentor.training import AutoencoderTrainer

pytestmark = pytest.mark.slow
ARGUMENTS = ["demo", "--epochs", "6", "--gan-steps", "3", "--device", "cpu"]
PICTURE = re.compile(r'src="data:image/png;base64,([A-Za-z0-9+/=]+)"')


def run(folder: Path) -> None:
    """The demo with 300 of the digits."""
    few = load_source("digits").subset(torch.arange(300))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warnings, "showwarning", warnings.showwarning)
        patch.setattr("augmentor.data.load_source", lambda name: few)
        main([*ARGUMENTS, "--out", str(folder)])


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """A folder that the demo filled; nobody changes it, but by calling the demo again."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    run(folder)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_holds_every_part(demo):
    assert not [name for name in content(demo) if "partial" in name]
    assert load_autoencoder(demo / "autoencoder/model.safetensors").image_shape == (1, 8, 8)
    assert len(ShardDataset(demo / "shards")) == 300
    for name in ("real", "mixed"):
        lines = (demo / f"gan-{name}/history.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]
        assert load_generator(demo / f"gan-{name}/generator.safetensors").num_classes == 10


def test_the_page_holds_its_pictures_and_refers_to_nothing(demo):
    page = (demo / "report.html").read_text()
    pictures = [base64.b64decode(found, validate=True) for found in PICTURE.findall(page)]
    assert len(pictures) == 6
    assert pictures[0] == (demo / "preview.png").read_bytes()
    for picture in map(Image.open, map(io.BytesIO, pictures)):
        assert len(picture.convert("L").getcolors(256)) > 2
    assert not re.search(r"https?:|//\w|@import|url\(|<link|<script|<iframe|src=|href=", PICTURE.sub("", page))


def test_the_figures_are_complete_and_in_the_page_with_what_to_try(demo):
    page = (demo / "report.html").read_text()
    metrics = json.loads((demo / "metrics.json").read_text())
    assert metrics["gan"].keys() == {"real", "mixed"}
    for scores in (metrics["decoded"], *metrics["gan"].values()):
        assert all(math.isfinite(scores[name]) for name in ("fid", "kid", "kid_std", "precision", "recall"))
        assert scores["fid"] > scores["floor"]["fid"] > 0
    assert metrics["decoded"]["fid"] < metrics["gan"]["real"]["fid"]  # 3 steps make no GAN
    assert 5 < metrics["autoencoder"]["psnr_db"] < 30
    assert 0 < metrics["autoencoder"]["val_loss"] < 0.7
    for text in ("floor: real against real", "augmentor train-gan", f"{metrics['gan']['mixed']['fid']:.4g}",
                 f"{metrics['autoencoder']['psnr_db']:.1f} dB"):  # fmt: skip
        assert text in page


def test_called_again_it_trains_nothing_and_ends_the_same(demo, monkeypatch):
    def trained(*args, **kwargs):
        raise AssertionError("a finished run was trained again")

    monkeypatch.setattr(AutoencoderTrainer, "_step", trained)
    monkeypatch.setattr(GAN, "step", trained)
    before = content(demo)
    run(demo)
    after = content(demo)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} <= {"metrics.json"}  # it has the seconds it took


def test_another_run_is_refused(demo, refused):
    before = content(demo)
    line = " ".join(ARGUMENTS)
    assert "epochs: 6 there, 3 asked" in refused(f"{line} --epochs 3 --out {demo}")
    assert "what: 'autoencoder' there, 'demo' asked" in refused(f"{line} --out {demo}/autoencoder")
    assert content(demo) == before
