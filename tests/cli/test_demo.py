"""``augmentor demo``: the whole product in one folder, in one page, and a second call that goes on from there."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import re
import warnings
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from augmentor import ShardDataset, load_autoencoder
from augmentor._internal.weights import load_network
from augmentor.cli import main
from augmentor.gan import GAN, generators
from augmentor.training import AutoencoderTrainer

ARGUMENTS = ["demo", "--epochs", "2", "--gan-steps", "6", "--device", "cpu"]
SCORES = {"fid", "kid", "kid_std", "precision", "recall"}


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> SimpleNamespace:
    """A folder that the demo filled, and what it held then."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(warnings, "showwarning", warnings.showwarning)
        main([*ARGUMENTS, "--out", str(folder)])
    return SimpleNamespace(folder=folder, content=content(folder), page=(folder / "report.html").read_text())


def content(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class References(HTMLParser):
    """Everything that a page refers to."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]


def test_the_folder_holds_every_part(demo):
    assert {
        "run.json", "metrics.json", "report.html", "preview.png", "autoencoder/model.safetensors",
        "shards/manifest.json", "gan-real/best.safetensors", "gan-mixed/generator.safetensors",
    } <= demo.content.keys()  # fmt: skip
    assert not [name for name in demo.content if "partial" in name]
    assert load_autoencoder(demo.folder / "autoencoder/model.safetensors").image_shape == (1, 8, 8)
    assert len(ShardDataset(demo.folder / "shards")) == 1797
    for name in ("real", "mixed"):
        lines = (demo.folder / f"gan-{name}/history.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [2, 4, 6]
        assert load_network(demo.folder / f"gan-{name}/generator.safetensors", generators).num_classes == 10


def test_the_page_holds_its_pictures_and_refers_to_nothing(demo):
    references = References(demo.page).found
    assert len(references) == 6
    prefix = "data:image/png;base64,"
    for reference in references:
        assert reference.startswith(prefix)
        picture = Image.open(io.BytesIO(base64.b64decode(reference.removeprefix(prefix), validate=True)))
        picture.load()
        assert picture.format == "PNG"
        assert min(picture.size) > 100
        assert len(picture.convert("L").getcolors(256)) > 2
    preview = base64.b64encode((demo.folder / "preview.png").read_bytes()).decode()
    assert prefix + preview in references
    without = re.sub(r"base64,[A-Za-z0-9+/=]+", "", demo.page)
    assert not re.search(r"https?:|//\w|@import|url\(|<link|<script|<iframe", without)


def test_the_page_says_what_was_done_and_what_to_try(demo):
    metrics = json.loads((demo.folder / "metrics.json").read_text())
    for text in ("GAN trained on real", "GAN trained on mixed", "floor: real against real", "vae(latent_dim=16",
                 "augmentor preview", "augmentor train-gan", f"{metrics['gan']['mixed']['fid']:.4g}",
                 f"{metrics['autoencoder']['psnr_db']:.1f} dB"):  # fmt: skip
        assert text in demo.page


def test_the_figures_are_complete(demo):
    metrics = json.loads((demo.folder / "metrics.json").read_text())
    assert metrics.keys() == {"settings", "autoencoder", "decoded", "gan", "seconds"}
    assert metrics["settings"].items() >= {"epochs": 2, "gan_steps": 6, "seed": 0, "device": "cpu"}.items()
    assert metrics["gan"].keys() == {"real", "mixed"}
    for scores in (metrics["decoded"], *metrics["gan"].values()):
        assert scores.keys() == SCORES | {"floor", "counts"}
        assert scores["floor"].keys() == SCORES
        assert scores["counts"] == {"generated": 1797, "real": 1797, "floor": 898}
        assert all(math.isfinite(scores[name]) and math.isfinite(scores["floor"][name]) for name in SCORES)
        assert scores["fid"] > scores["floor"]["fid"] > 0
    assert metrics["decoded"]["fid"] < metrics["gan"]["real"]["fid"]  # 6 steps make no GAN
    assert 5 < metrics["autoencoder"]["psnr_db"] < 30
    assert 0 < metrics["autoencoder"]["val_loss"] < 0.7


def test_called_again_it_trains_nothing_and_ends_the_same(demo, monkeypatch, capfd):
    def trained(*args, **kwargs):
        raise AssertionError("a finished run was trained again")

    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(AutoencoderTrainer, "_step", trained)
    monkeypatch.setattr(GAN, "step", trained)
    main([*ARGUMENTS, "--out", str(demo.folder)])
    after = content(demo.folder)
    assert after.keys() == demo.content.keys()
    changed = {name for name in after if after[name] != demo.content[name]}
    assert changed <= {"metrics.json", "report.html"}  # these hold the seconds it took
    assert "wrote" in capfd.readouterr().out
    strip = re.compile(r"base64,[A-Za-z0-9+/=]+")
    assert strip.sub("", (demo.folder / "report.html").read_text()) == strip.sub("", demo.page)


@pytest.mark.parametrize(
    ("other", "said"), [(["--epochs", "3"], "epochs: 2 there, 3 asked"), (["--seed", "1"], "seed: 0 there, 1 asked")]
)
def test_other_settings_are_refused(demo, monkeypatch, capfd, other, said):
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    before = content(demo.folder)
    with pytest.raises(SystemExit) as end:
        main([*ARGUMENTS, *other, "--out", str(demo.folder)])
    assert end.value.code == 2
    error = capfd.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert said in error
    assert content(demo.folder) == before


def test_a_run_of_another_kind_is_not_taken_for_a_demo(demo, monkeypatch, capfd):
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    before = content(demo.folder)
    with pytest.raises(SystemExit) as end:
        main([*ARGUMENTS, "--out", str(demo.folder / "autoencoder")])
    assert end.value.code == 2
    assert "what: 'autoencoder' there, 'demo' asked" in capfd.readouterr().err
    assert content(demo.folder) == before
