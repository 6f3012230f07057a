"""Imports go down only: the order of layers of the design contract, read from the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import augmentor

ROOT = Path(augmentor.__file__).parent

# Top-level modules and folders of the package, from the bottom up. Those of one row are siblings.
ORDER = [
    ["exceptions", "_transfer"],
    ["_registry", "_random", "_checks", "_files", "_epoch", "_blocks", "_optional", "_typing"],
    ["_weights", "items", "pictures", "report"],
    ["samples"],
    ["latents", "_forest"],
    ["latent_classifier", "label_spreading"],
    ["pool"],
    ["gate"],
    ["config"],
    ["autoencoders", "policies", "shards", "metrics"],
    ["adapters"],
    ["gan"],  # a generator may draw with a decoder
    ["pretrained", "inference", "encoding"],
    ["transform"],
    ["data", "albumentations"],  # `data` uses the transform, so it stands one step above it
    ["training", "generate", "preview", "explore"],
    ["tuning", "sampler"],
    ["cli"],
    ["__main__"],
]
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}
FAMILIES = ["autoencoders", "policies", "shards", "gan", "metrics"]
REQUIRED = {name for level in ORDER for name in level} - {"_optional", "_typing"}


def unit(module: tuple[str, ...]) -> str:
    """The top-level part that a module belongs to; the package itself is ''."""
    return module[0] if module else ""


def imports(path: Path) -> set[tuple[str, ...]]:
    """Modules of the package that a file imports, wherever in the file, as parts below `augmentor`."""
    here = path.relative_to(ROOT).with_suffix("").parts
    folder = here[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {tuple(a.name.split(".")[1:]) for a in node.names if a.name.split(".")[0] == "augmentor"}
        elif isinstance(node, ast.ImportFrom):
            parts = tuple(node.module.split(".")) if node.module else ()
            if node.level:
                base = (*folder[: len(folder) - node.level + 1], *parts)
            elif parts[:1] == ("augmentor",):
                base = parts[1:]
            else:
                continue
            for alias in node.names:  # `from . import x` may mean the module x
                inside = (*base, alias.name)
                is_module = (ROOT.joinpath(*inside)).is_dir() or ROOT.joinpath(*inside).with_suffix(".py").exists()
                found.add(inside if is_module else base)
    return found


FILES = sorted(p for p in ROOT.rglob("*.py") if p != ROOT / "__init__.py" and "_pretrained" not in p.parts)


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def test_every_module_has_its_place_in_the_order():
    present = {unit(p.relative_to(ROOT).with_suffix("").parts) for p in FILES}
    assert present - LEVEL.keys() == set(), "give the new module a row in ORDER"
    assert REQUIRED - present == set(), "a module is gone: take its name out of ORDER"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_go_down_only(path):
    mine = unit(path.relative_to(ROOT).with_suffix("").parts)
    for module in imports(path):
        other = unit(module)
        if other in ("", mine):  # the package's own version number, or a neighbour in the same folder
            continue
        assert LEVEL[other] < LEVEL[mine], f"{name_of(path)} imports {'.'.join(module)}, which is not below it"


@pytest.mark.parametrize("family", FAMILIES)
def test_members_of_a_family_do_not_import_each_other(family):
    folders = [f for f in [ROOT / family, *(ROOT / family).iterdir()] if f.is_dir() and (f / "__init__.py").exists()]
    public = {
        (*folder.relative_to(ROOT).parts, path.stem)
        for folder in folders
        for path in folder.glob("*.py")
        if not path.name.startswith("_")
    }
    registered = {module for module in public if "register(" in ROOT.joinpath(*module).with_suffix(".py").read_text()}
    for module in registered:
        others = imports(ROOT.joinpath(*module).with_suffix(".py")) & (registered - {module})
        assert others == set(), f"{'.'.join(module)} imports its sibling {others}"


def test_the_reader_of_imports_sees_all_forms(tmp_path, monkeypatch):
    monkeypatch.setattr("test_layers.ROOT", tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "transform.py").write_text("")
    source = (
        "import augmentor.pool\nfrom augmentor.gan import losses\nfrom .. import transform\nfrom ..items import x\n"
        "from . import sources\nimport torch\ndef f():\n    from ..cli import main\n"
    )
    (tmp_path / "data" / "mixed.py").write_text(source)
    (tmp_path / "data" / "sources.py").write_text("")
    assert imports(tmp_path / "data" / "mixed.py") == {
        ("pool",), ("gan",), ("transform",), ("items",), ("data", "sources"), ("cli",),
    }  # fmt: skip
