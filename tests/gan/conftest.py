"""What the tests of GANs share besides `tiny.py`."""

from __future__ import annotations

import pytest
import torch

from augmentor.data import ArrayDataset


@pytest.fixture(scope="session")
def few(digits: ArrayDataset) -> ArrayDataset:
    return digits.subset(torch.arange(100))
