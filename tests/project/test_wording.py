"""Texts avoid the wordings of wording.txt, and have no spelling mistakes that codespell knows."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINES = (Path(__file__).parent / "wording.txt").read_text(encoding="utf-8").splitlines()
AVOIDED = [tuple(line.split("\t")) for line in LINES if line and not line.startswith("#")]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")] + sorted((ROOT / "docs").rglob("*.md"))
MODULES = sorted((ROOT / "augmentor").rglob("*.py")) + sorted((ROOT / "examples").glob("*.py"))


def texts_of(source: str) -> str:
    """The comments and strings of a module, with the names of code left out."""
    comments = [token.string for token in tokenize.generate_tokens(io.StringIO(source).readline)
                if token.type == tokenize.COMMENT]  # fmt: skip
    strings = [node.value for node in ast.walk(ast.parse(source))
               if isinstance(node, ast.Constant) and isinstance(node.value, str)]  # fmt: skip
    return "\n".join(comments + strings)


def prose_of(page: Path) -> str:
    """A page without blocks of code, code in sentences, generated tables, and the pairs of the style page."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"^\| not \| but \|$.*?\n\n", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"<!-- (\S+) -->.*?<!-- end \1 -->", "", text, flags=re.DOTALL)
    return re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", "", text, flags=re.DOTALL)


def avoided_in(text: str) -> list[str]:
    return [f"{found[0]!r}: write {better}" for pattern, better in AVOIDED
            for found in re.finditer(pattern, text, re.IGNORECASE)]  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_page_avoids_these_wordings(page):
    assert avoided_in(prose_of(page)) == []


@pytest.mark.parametrize("folder", sorted({module.relative_to(ROOT).parent.as_posix() for module in MODULES}))
def test_texts_in_code_avoid_these_wordings(folder):
    found = {
        module.name: avoided_in(re.sub(r"`[^`\n]*`", "", texts_of(module.read_text(encoding="utf-8"))))
        for module in MODULES
        if module.relative_to(ROOT).parent.as_posix() == folder
    }
    assert {name: wordings for name, wordings in found.items() if wordings} == {}


def test_the_check_finds_what_it_looks_for():
    assert avoided_in("It decodes 300 images a second, and goes on with the rest.") == [
        "'images a second': write ... per ...", "'goes on with': write resume, continue",
    ]  # fmt: skip
    assert all(len(pair) == 2 and re.compile(pair[0]) for pair in AVOIDED)


def test_spelling():
    command = [sys.executable, "-m", "codespell_lib", *map(str, PAGES), "augmentor", "examples", "website"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
