"""Two processes train what one does: ``torchrun`` on gloo, through Lightning Fabric."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import content, equal, method_of, pictures, trainer_of
from torch import nn

from augmentor import LatentAugment, load_autoencoder
from augmentor._internal.engine import Engine, FabricEngine
from augmentor.data import load_source
from augmentor.exceptions import InputError
from augmentor.gan import GANTrainer, get_augmentation, load_generator
from augmentor.gan.feed import Feed
from augmentor.gan.methods import methods

_SCRIPT = """
import os, sys, torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[2])
from test_distributed import every_method, trained
trained(sys.argv[1], os.environ['RANK'])
every_method(sys.argv[1], os.environ['RANK'])
"""
STEPS = 5


def few():
    return load_source("digits").subset(torch.arange(150))


def trained(folder: str, rank: str) -> GANTrainer:
    """A short run that notes what each image became before the discriminator saw it."""
    chain = "both(p='adaptive(images=200, start=0.5, every=2)')+diffaugment"
    method = method_of(
        "gan", num_classes=10, network="dcgan(width=8, latent_dim=6)", discriminator_steps=2,
        seed=int(rank),  # the second process starts with other weights, and is given the first's
        augmentation=get_augmentation(chain, LatentAugment("digits")),
    )  # fmt: skip
    seen: dict[int, torch.Tensor] = {}
    for side in ("real", "fake"):
        augment = getattr(method.augmentation, side)

        def noting(batch, augment=augment):
            made = augment(batch)
            images = made[0] if isinstance(made, tuple) else made
            seen.update(zip(batch.keys.tolist(), images.detach(), strict=True))
            return made

        setattr(method.augmentation, side, noting)
    trainer = trainer_of(method, steps=STEPS, batch_size=12, round_steps=3, out=f"{folder}/run")
    trainer.fit(few())
    notes = {"seen": seen, "weights": method.state_dict()["networks"], "history": trainer.history}
    torch.save(notes, f"{folder}/seen-{rank}.pt")
    return trainer


def every_method(folder: str, rank: str) -> None:
    """A short run of each: the weights that it ends with, and its history."""
    ends = {}
    for name in methods.names():
        # The noise under which an autoencoder is refitted is each process's own.
        text = "guided-gan(refit_steps=0)" if name == "guided-gan" else name
        digits = load_autoencoder("digits")
        method = method_of(text, num_classes=10, network="dcgan(width=8)", seed=int(rank), autoencoder=digits)
        trainer = trainer_of(method, steps=4, batch_size=12)
        trainer.fit(few())
        ends[name] = {"weights": method.state_dict()["networks"], "history": trainer.history}
    torch.save(ends, f"{folder}/methods-{rank}.pt")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, dict]:
    """What one process and two processes noted, and their folders."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("one", "two")}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = folders["two"] / "script.py"
    script.write_text(_SCRIPT)
    process = subprocess.run(
        [*command, str(script), str(folders["two"]), str(Path(__file__).parent)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr[-3000:]
    trained(str(folders["one"]), "0")
    every_method(str(folders["one"]), "0")
    return {
        name: {
            "folder": folder,
            "ranks": [torch.load(path) for path in sorted(folder.glob("seen-*.pt"))],
            "methods": [torch.load(path) for path in sorted(folder.glob("methods-*.pt"))],
        }
        for name, folder in folders.items()
    }


@pytest.mark.slow
def test_each_sample_becomes_the_same_in_one_process_and_in_two(runs):
    (one,), two = runs["one"]["ranks"], runs["two"]["ranks"]
    assert len(two) == 2
    assert not two[0]["seen"].keys() & two[1]["seen"].keys()
    assert one["seen"].keys() == two[0]["seen"].keys() | two[1]["seen"].keys()
    assert len(one["seen"]) == STEPS * 12 * (2 * 2 + 1)  # reals and fakes in two turns, and the generator's
    for rank in two:
        for key, image in rank["seen"].items():
            torch.testing.assert_close(image, one["seen"][key], atol=1 / 255, rtol=0)


def assert_alike(one, first, second, **tolerance):
    """Both processes end with the same; their history is that of one."""
    for network, weights in first["weights"].items():
        assert all(torch.equal(weight, second["weights"][network][name]) for name, weight in weights.items()), network
    assert first["history"] == second["history"]
    for row, expected in zip(first["history"], one["history"], strict=True):
        assert row == pytest.approx(expected, **tolerance)


@pytest.mark.slow
def test_both_processes_have_the_weights_that_one_has(runs):
    (one,), two = runs["one"]["ranks"], runs["two"]["ranks"]
    assert_alike(one, *two, abs=0.02)
    for network, weights in one["weights"].items():
        for name, weight in weights.items():
            # Adam moves a weight whose gradient is nothing but rounding by the learning rate, to either side.
            apart = (two[0]["weights"][network][name] - weight).abs()
            assert apart.mean() < 2e-3, (name, apart)
            assert apart.max() < 5e-3, (name, apart)


@pytest.mark.slow
@pytest.mark.parametrize("name", methods.names())
def test_every_method_learns_as_in_one_process(runs, name):
    # Weights whose gradient is nothing but rounding may go either way; the losses tell what they do.
    assert_alike(*(rank[name] for which in ("one", "two") for rank in runs[which]["methods"]), rel=2e-3, abs=2e-3)


@pytest.mark.slow
def test_one_of_them_writes_and_a_run_of_two_goes_on_in_one(runs):
    one, two = (runs[name]["folder"] / "run" for name in ("one", "two"))
    assert content(one).keys() == content(two).keys()
    assert len((two / "history.jsonl").read_text().splitlines()) == 2
    assert load_generator(two / "generator.safetensors").num_classes == 10
    before = json.loads((two / "run.json").read_text())
    trainer = trained(str(two.parent), "0")  # finished: nothing is trained
    assert trainer.history == runs["two"]["ranks"][0]["history"]
    assert json.loads((two / "run.json").read_text()) == before


# The engine


def test_one_process_in_full_precision_needs_no_fabric_and_no_kornia(monkeypatch):
    for name in ("lightning", "lightning.fabric", "kornia"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    trainer_of(method_of("gan"), steps=1).fit(pictures())


def test_lower_precision_trains():
    def trained(precision):
        trainer = trainer_of(method_of("gan"), steps=4, round_steps=4, precision=precision)
        return trainer.fit(pictures()), trainer.history[-1]

    (full, row), (low, other) = trained("fp32"), trained("bf16")
    assert all(weight.dtype == torch.float32 for weight in low.parameters())
    assert not equal(full, low)
    for one, two in zip(full.parameters(), low.parameters(), strict=True):
        torch.testing.assert_close(one, two, atol=1e-2, rtol=0)
    assert other == pytest.approx(row, abs=0.1)


class Shared(Engine):
    """The second of three processes, as far as a feed looks."""

    rank, processes = 1, 3


def test_a_process_has_its_places_of_the_whole_batch(digits):
    whole, part = (Feed(digits, 12, 0, engine("cpu"), labelled=True) for engine in (Engine, Shared))
    one, other = whole.batch(500), part.batch(500)
    for all_of_them, here in zip(one, other, strict=True):
        assert np.array_equal(all_of_them[4:8], here)
    assert torch.equal(whole.normal("x", 500, 3)[4:8], part.normal("x", 500, 3))
    with pytest.raises(InputError, match="choose a multiple"):
        Feed(digits, 10, 0, Shared("cpu"), labelled=True)


def test_batch_norm_of_a_part_of_the_batch_is_refused():
    engine = object.__new__(FabricEngine)
    engine.processes = 2
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    with pytest.raises(InputError, match="convert_sync_batchnorm"):
        engine.start_alike([network])
