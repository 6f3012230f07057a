"""What many tests need: one thread, the bundled digits, and an autoencoder that has learnt a little of them."""

from __future__ import annotations

import copy
import signal
from collections.abc import Iterator

import pytest
import torch

from augmentor.autoencoders import Autoencoder, ConvVAE
from augmentor.data import ArrayDataset, load_source
from augmentor.training import AutoencoderTrainer


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _heeds_interrupts() -> None:
    """A shell starts background jobs with SIGINT ignored, and programs that tests start would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def global_rng_untouched() -> Iterator[None]:
    """Fails the test if it moved torch's global generator."""
    before = torch.random.get_rng_state()
    yield
    assert torch.equal(torch.random.get_rng_state(), before), "torch's global generator was drawn from or reseeded"


@pytest.fixture(scope="session")
def digits() -> ArrayDataset:
    return load_source("digits")


@pytest.fixture(scope="session")
def trained_vae(digits: ArrayDataset) -> Autoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ConvVAE((1, 8, 8), latent_dim=8, width=8, beta=0.5)
    return AutoencoderTrainer(model, steps=260, batch_size=128, transform=None, progress=False).fit(digits)


@pytest.fixture
def vae(trained_vae: Autoencoder) -> Autoencoder:
    """A tiny variational autoencoder trained on digits; a copy of the test's own."""
    return copy.deepcopy(trained_vae)
