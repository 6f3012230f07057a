"""What a new member costs: one new file and one import line, in each family. The package is copied and extended.

`members/` has one of each but the policy, which is the recipe of CONTRIBUTING.md. The first line of a file says where
it goes and what its import line is.
Run as a program this prints the changes: python tests/project/test_new_members.py
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("augmentor", "pretrained", "tests", "pyproject.toml")

# What notices a new member without further edits: Python to run, and the contract tests of its family.
NOTICED = {
    "policy": ("policies.list_policies()", "splice", "policies/test_policies.py"),
    "family": ("autoencoders.autoencoders.names()", "linear", "autoencoders/test_autoencoders.py"),
    "loss": ("gan.losses.LOSSES", "capped", "gan/test_losses.py"),
    "method": ("gan.methods.methods.names()", "clipped-gan", "gan/test_methods.py"),
    "source": ("[len(data.load_source('noise:12'))]", 12, None),
    "format": ("shards.manifest.FORMATS", "npz", "shards/test_formats.py"),
}


def members() -> dict[str, tuple[str, str, str]]:
    """Kind => where the new file goes, the import line, the code."""
    found = {}
    for path in Path(__file__).with_name("members").glob("*.py"):
        first, _, code = path.read_text("utf-8").partition("\n")
        found[path.stem] = (*re.fullmatch(r"# (\S+): (.+)", first).groups(), code)
    recipe = (ROOT / "CONTRIBUTING.md").read_text("utf-8").split("## A policy in ten lines")[1]
    code, line = re.findall(r"```python\n(.*?)```", recipe, re.DOTALL)
    found["policy"] = re.search(r"`(augmentor/policies/\w+\.py)`", recipe)[1], line.strip(), code
    return found


def extend(copy: Path, place: str, line: str, code: str) -> None:
    """Put a member into a copy of the package."""
    (copy / place).write_text(code)
    family = (copy / place).with_name("__init__.py")
    lines = family.read_text("utf-8").splitlines()
    imports = [n for n, text in enumerate(lines) if text.startswith("from ._base import")]
    lines.insert(imports[-1] + 1 if imports else 2, line)
    family.write_text("\n".join(lines) + "\n")


def copied(folder: Path) -> Path:
    for path in COPIED:
        copy = shutil.copytree if (ROOT / path).is_dir() else shutil.copy
        copy(ROOT / path, folder / path)
    return folder


def run(copy: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=copy, env={**os.environ, "PYTHONPATH": str(copy)}, capture_output=True,
        text=True, timeout=220,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_new_member_is_one_file_and_one_line(tmp_path):
    copy = copied(tmp_path)
    assert members().keys() == NOTICED.keys()
    for member in members().values():
        extend(copy, *member)
    checks = "\n".join(f"assert {name!r} in {where}, {name!r}" for where, name, _ in NOTICED.values())
    run(copy, "-c", f"from augmentor import autoencoders, data, gan, policies, shards\n{checks}")
    # Those of the command line, all in one call.
    options = ["--autoencoder", "digits", "--policy", "splice(strength=0.5)", "--format", "npz", "--num-samples", "4"]
    run(copy, "-m", "augmentor", "generate", "noise:12", "--anyway", *options, "--out", "made")
    assert (copy / "made/shard-00000.npz").exists()
    tests = [f"tests/{file}" for _, _, file in NOTICED.values() if file]
    names = " or ".join(str(name) for _, name, _ in NOTICED.values())
    said = run(copy, "-m", "pytest", *tests, "-k", names, "-p", "no:cacheprovider")
    assert re.search(r"\d\d passed", said), said


def show() -> None:
    """Each change as git counts it."""
    import tempfile

    for kind, member in members().items():
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "a").mkdir()
            before, after = copied(Path(folder) / "a"), Path(folder) / "b"
            shutil.copytree(before, after)
            extend(after, *member)
            command = ["git", "diff", "--no-index", "--stat", "--ignore-cr-at-eol", "a", "b"]
            print(kind, subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout, sep="\n")


if __name__ == "__main__":
    show()
