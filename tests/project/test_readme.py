"""The Python of the README and the other texts runs as it stands."""

import re
from pathlib import Path

import pytest

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


@pytest.mark.parametrize(("name", "block"), BLOCKS)
def test_a_block_runs(name, block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(methods, "members", dict(methods.members))  # what a text registers is for the text
    exec(compile(block, name, "exec"), {})


@pytest.mark.parametrize("path", LINKING, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_link_leads_somewhere(path):
    links = re.findall(r"\]\((?!http)([^)#]+)", path.read_text(encoding="utf-8"))
    assert links or path.name != "README.md"
    assert [link for link in links if not (path.parent / link).exists()] == []
