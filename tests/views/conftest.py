"""A few digits as a data argument, and one explorer that has read and encoded them."""

from __future__ import annotations

import numpy as np
import pytest

from augmentor.views.explore import Explorer, Settings


@pytest.fixture(scope="session")
def few(digits, tmp_path_factory) -> str:
    """The first 120 digits as a file."""
    path = tmp_path_factory.mktemp("few") / "few.npz"
    np.savez(path, images=digits.images[:120].numpy(), labels=digits.targets[:120].numpy())
    return str(path)


@pytest.fixture(scope="session")
def explorer() -> Explorer:
    return Explorer()


@pytest.fixture
def settings(few) -> Settings:
    return Settings(data=few, images=4, copies=3, original=1, copy=2)
