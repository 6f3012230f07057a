"""docs/structure.md and its picture, against the code."""

from __future__ import annotations

import ast
import itertools
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "website"))

import structure  # noqa: E402

PAGE = (ROOT / "docs/structure.md").read_text(encoding="utf-8")


def test_the_picture_is_that_of_the_code():
    drawn = structure.PICTURE.read_text(encoding="utf-8")
    assert drawn == structure.picture(), "draw it again: python website/structure.py"


def test_every_folder_says_what_it_may_import():
    rows = structure.layers()
    for row, below in itertools.pairwise(rows):
        for name in row:
            folder = ROOT / "augmentor" / name / "__init__.py"
            if folder.exists():
                said = re.search(
                    r"may import `(\w+)` and the layers below it", ast.get_docstring(ast.parse(folder.read_text()))
                )
                assert said, f"{name}/__init__.py says in one sentence what it may import"
                assert said[1] in below, f"{name} may import {below}, and says {said[1]}"


def test_the_names_on_the_page_are_in_the_code():
    named = re.findall(r"`([\w/]+\.py)`: `([\w.]+)`", PAGE)
    assert len(named) > 15
    for file, name in named:
        scope = ast.parse((ROOT / "augmentor" / file).read_text(encoding="utf-8")).body
        for part in name.split("."):
            found = [node for node in scope if getattr(node, "name", None) == part]
            assert found, f"{file} has no {name}"
            scope = getattr(found[0], "body", [])


def test_the_folders_for_new_members_are_there():
    folders = re.findall(r"\| `([\w/]+/)NAME\.py` \|", PAGE)
    assert len(folders) > 5
    for folder in folders:
        assert (ROOT / "augmentor" / folder / "__init__.py").exists(), folder
