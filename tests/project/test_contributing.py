"""The recipe of CONTRIBUTING.md for a new policy, followed in a copy of the package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("augmentor", "pretrained", "tests/conftest.py", "tests/policies/test_policies.py", "pyproject.toml")


def test_a_new_policy_is_a_file_and_an_import_line(tmp_path):
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## A policy in ten lines")[1]
    source, line = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    place, family = re.findall(r"`(augmentor/policies/\w+\.py)`", text)[:2]
    assert len([code for code in source.splitlines() if code.strip()]) <= 10 + source.count("import ")

    for path in COPIED:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / path).is_dir() else shutil.copy
        copy(ROOT / path, tmp_path / path)
    (tmp_path / place).write_text(source)
    with open(tmp_path / family, "a") as file:
        file.write(line)

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/policies/test_policies.py", "-k", Path(place).stem],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\d\d passed", done.stdout), done.stdout
