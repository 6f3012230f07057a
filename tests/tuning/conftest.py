"""A fixture that makes races short."""

from __future__ import annotations

import pytest


@pytest.fixture
def short_final(monkeypatch):
    """The final has few cells, so that a race ends long before its budget."""
    monkeypatch.setattr("augmentor.tuning.race.MOST_REPEATS", 2)
    monkeypatch.setattr("augmentor.tuning.race.MOST_CELLS", 3)
