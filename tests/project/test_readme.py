"""The Python of the README and the other texts runs as it stands."""

import re
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from augmentor import LatentAugment, generate_shards, load_autoencoder
from augmentor.data import load_source
from augmentor.gan.methods import methods

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINKING = [*TEXTS, ROOT / "CONTRIBUTING.md", ROOT / "benchmarks" / "README.md"]
BLOCKS = [
    pytest.param(path.name, block, id=f"{path.name}:{block.splitlines()[-1][:30]}",
                 marks=() if path.name == "README.md" else pytest.mark.slow)
    for path in TEXTS
    for block in re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
]  # fmt: skip
assert sum(block.values[0] == "README.md" for block in BLOCKS) >= 4


def follow_the_commands_on_own_images() -> None:
    """What the blocks of Python in "Your own images" find: photos, runs/mine and runs/shards."""
    for name, photograph in zip(("temple", "flower"), load_sample_images().images, strict=True):
        for number in range(6):
            path = Path("photos", "train" if number < 4 else "test", name, f"{number}.jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photograph[:64, 64 * number : 64 * (number + 1)]).save(path)
    Path("runs/mine").mkdir(parents=True)
    load_autoencoder("natural").save("runs/mine/model.safetensors")
    generate_shards(load_source("photos/train", size=32), LatentAugment("runs/mine"), "runs/shards", num_samples=8)


@pytest.mark.parametrize(("name", "block"), BLOCKS)
def test_a_block_runs(name, block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "photos/" in block:
        follow_the_commands_on_own_images()
    monkeypatch.setattr(methods, "members", dict(methods.members))  # what a text registers is for the text
    exec(compile(block, name, "exec"), {})


@pytest.mark.parametrize("path", LINKING, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_link_leads_somewhere(path):
    links = re.findall(r"\]\((?!http)([^)#]+)", path.read_text(encoding="utf-8"))
    assert links or path.name != "README.md"
    assert [link for link in links if not (path.parent / link).exists()] == []
