"""What is released: a wheel that works outside the checkout, and papers that agree with the package."""

from __future__ import annotations

import json
import os
import re
import site
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

import augmentor
from augmentor.autoencoders import list_autoencoders

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def run(*command: object, cwd: Path) -> str:
    """What it printed, away from this checkout's modules."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_sdist_makes_a_wheel_that_works_outside_the_checkout(tmp_path):
    build = (sys.executable, "-m", "hatchling", "build", "-d", tmp_path, "-t")
    run(*build, "sdist", cwd=ROOT)
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = tmp_path / sdist.name.removesuffix(".tar.gz")
    the_sdist_holds_what_the_tests_need(unpacked)
    run(*build, "wheel", cwd=unpacked)
    (wheel,) = tmp_path.glob("*.whl")
    the_wheel_holds_the_package_and_its_weights_and_nothing_else(wheel)

    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    packages = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", "--quiet", wheel,
        cwd=tmp_path)  # fmt: skip
    # The dependencies, after the environment's own; only now, as pip would find an installed augmentor among them.
    (packages / "others.pth").write_text("\n".join(site.getsitepackages()))

    home = run(python, "-c", "import augmentor; print(augmentor.__file__)", cwd=tmp_path).strip()
    assert Path(home).is_relative_to(packages)
    program = python.with_name("augmentor")
    info = json.loads(run(program, "info", cwd=tmp_path))
    assert info["versions"]["augmentor"] == augmentor.__version__
    assert set(info["pretrained"]) == set(list_autoencoders())
    run(program, "generate", "digits", "--num-samples", 64, "--out", "shards", cwd=tmp_path)
    assert "64" in run(program, "verify", "shards", cwd=tmp_path)


def the_sdist_holds_what_the_tests_need(folder: Path) -> None:
    for needed in ("README.md", "CONTRIBUTING.md", "CITATION.cff", "CHANGELOG.md", "LICENSE", "mkdocs.yml",
                   "website/hooks.py", "docs/gallery.md", "tests/project/public_api.txt",
                   "benchmarks/README.md"):  # fmt: skip
        assert (folder / needed).exists(), needed
    assert not [path for name in ("__pycache__", "build", "runs") for path in folder.rglob(name)]


def the_wheel_holds_the_package_and_its_weights_and_nothing_else(path: Path) -> None:
    names = zipfile.ZipFile(path).namelist()
    assert {n.split("/")[0] for n in names} == {"augmentor", f"latent_augmentor-{augmentor.__version__}.dist-info"}
    assert {f"augmentor/_pretrained/{name}/model.safetensors" for name in list_autoencoders()} <= {*names}
    assert "augmentor/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_citation_and_the_changelog_agree_with_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == augmentor.__version__
    assert citation["license"] == PROJECT["license"]
    assert citation["authors"] == [{"name": "The augmentor authors"}]
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] in ("Unreleased", augmentor.__version__)


def test_every_dependency_is_listed_with_its_licence():
    extras = PROJECT["optional-dependencies"].values()
    wanted = [re.match(r"[\w.-]+", line)[0] for group in (PROJECT["dependencies"], *extras) for line in group]
    text = (ROOT / "docs" / "third-party.md").read_text(encoding="utf-8")
    listed = {name.strip() for row in re.findall(r"^\| (.*?) \|", text, re.MULTILINE) for name in row.split(",")}
    assert set(wanted) - {"latent-augmentor"} - listed == set()
