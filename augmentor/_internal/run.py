"""Folder of a training run: settings, history and checkpoint.

    run.json         resolved settings; a folder with other settings raises `OutputError`
    history.jsonl    one line per round
    checkpoint.pt    state from which the run resumes exactly; read with `weights_only=True`

The folder is optional: without one, nothing is stored.
"""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import torch

from ..exceptions import OutputError, TrainingError
from .files import claim_folder, write_bytes, write_json


class Run:
    """Record of one run in `folder`; None stores nothing."""

    def __init__(self, folder: str | Path | None, settings: dict[str, Any]):
        self.folder = None if folder is None else claim_folder(folder, "run.json")
        self.history: list[dict[str, Any]] = []
        if self.folder is None:
            return
        settings = json.loads(json.dumps(settings))
        if (self.folder / "run.json").exists():
            self._refuse_other_settings(settings)
        else:
            write_json(self.folder / "run.json", settings)

    def save(self, state: dict[str, Any], row: dict[str, Any], *, passing: bool = False) -> None:
        """Add a line to the history, then replace the checkpoint; `load` drops lines after the checkpoint.

        passing: whether the row is an intermediate state, which `load` drops.
        """
        self.history.append(row)
        if self.folder is not None:
            lines = "".join(json.dumps(line) + "\n" for line in self.history)
            write_bytes(self.folder / "history.jsonl", lines.encode())
            buffer = io.BytesIO()
            torch.save({**state, "rounds": len(self.history) - passing}, buffer)
            write_bytes(self.folder / "checkpoint.pt", buffer.getvalue())

    def load(self) -> dict[str, Any] | None:
        """Return the last checkpoint and restore the history up to it; None at the start of a run."""
        if self.folder is None or not (self.folder / "checkpoint.pt").exists():
            return None
        try:
            state = torch.load(self.folder / "checkpoint.pt", map_location="cpu", weights_only=True)
            lines = (self.folder / "history.jsonl").read_text().splitlines()
            self.history = [json.loads(line) for line in lines[: state["rounds"]]]
        except (OSError, EOFError, RuntimeError, TypeError, ValueError, LookupError, pickle.UnpicklingError) as error:
            reason = " ".join(str(error).split())[:200]  # messages of torch have many lines
            raise TrainingError(
                f"cannot resume from {self.folder}: {reason}; remove the folder to start again"
            ) from error
        return state

    def write(self, name: str, data: bytes) -> None:
        """Write a file to the folder, if there is a folder."""
        if self.folder is not None:
            write_bytes(self.folder / name, data)

    def path(self, name: str) -> Path | None:
        """Return the path of a file in the folder; None without a folder."""
        return None if self.folder is None else self.folder / name

    def _refuse_other_settings(self, settings: dict[str, Any]) -> None:
        assert self.folder is not None
        try:
            before = json.loads((self.folder / "run.json").read_text())
        except ValueError as error:
            raise OutputError(f"{self.folder}/run.json cannot be read ({error}); choose another folder") from error
        changed = [key for key in {**before, **settings} if before.get(key) != settings.get(key)]
        if changed:
            shown = ", ".join(f"{key}: {before.get(key)!r} stored, {settings.get(key)!r} given" for key in changed[:4])
            raise OutputError(
                f"{self.folder} holds a run with other settings ({shown}); choose another folder, or use its settings"
            )
