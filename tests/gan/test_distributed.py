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
from tiny import content, trainer_of
from torch import nn

from augmentor import LatentAugment, load_autoencoder
from augmentor._internal.engine import Engine, FabricEngine, get_engine
from augmentor.data import load_source
from augmentor.exceptions import InputError
from augmentor.gan import GAN, GANTrainer, get_augmentation, get_method, load_generator
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
    method = GAN(
        "dcgan(width=8, latent_dim=6)", image_shape=(1, 8, 8), num_classes=10, discriminator_steps=2, lr=1e-3,
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
        method = get_method(text, network="dcgan(width=8)", image_shape=(1, 8, 8), num_classes=10, lr=1e-3,
                            autoencoder=load_autoencoder("digits"), seed=int(rank))  # fmt: skip
        trainer = trainer_of(method, steps=4, batch_size=12)
        trainer.fit(few())
        ends[name] = method.state_dict()["networks"], trainer.history
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


@pytest.mark.slow
def test_both_processes_have_the_weights_that_one_has(runs):
    (one,), two = runs["one"]["ranks"], runs["two"]["ranks"]
    for network, weights in one["weights"].items():
        for name, weight in weights.items():
            assert torch.equal(two[0]["weights"][network][name], two[1]["weights"][network][name]), name
            # Adam moves a weight whose gradient is nothing but rounding by the learning rate, to either side.
            apart = (two[0]["weights"][network][name] - weight).abs()
            assert apart.mean() < 1e-3, (name, apart)
            assert apart.max() < 5e-3, (name, apart)
    assert two[0]["history"] == two[1]["history"]
    for row, expected in zip(two[0]["history"], one["history"], strict=True):
        assert row == pytest.approx(expected, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("name", methods.names())
def test_every_method_learns_as_in_one_process(runs, name):
    ((_, history),), two = ([rank[name] for rank in runs[which]["methods"]] for which in ("one", "two"))
    assert len(two) == 2
    for network, weights in two[0][0].items():
        assert all(torch.equal(weight, two[1][0][network][key]) for key, weight in weights.items()), network
    # Weights whose gradient is nothing but rounding may go either way; the losses tell what they do.
    assert two[0][1] == two[1][1]
    for row, expected in zip(two[0][1], history, strict=True):
        assert row == pytest.approx(expected, rel=2e-3, abs=2e-3)


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


def test_one_process_in_full_precision_needs_no_fabric(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning.fabric", None)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert type(get_engine("cpu")) is Engine


@pytest.mark.slow
def test_fabric_is_not_imported_without_need():
    code = (
        "import sys\nfrom augmentor.data import load_source\nfrom augmentor.gan import GANTrainer, get_method\n"
        "method = get_method('gan', network='dcgan(width=4)', image_shape=(1, 8, 8))\n"
        "GANTrainer(method, steps=1, batch_size=4, progress=False).fit(load_source('digits'))\n"
        "assert not [name for name in sys.modules if name.startswith(('lightning', 'kornia'))]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_lower_precision_trains():
    def trained(precision):
        method = GAN("dcgan(width=8)", image_shape=(1, 8, 8), lr=1e-3)
        trainer = trainer_of(method, steps=4, batch_size=16, round_steps=4, precision=precision)
        return trainer.fit(few()), trainer.history[-1]

    (full, row), (low, other) = trained("fp32"), trained("bf16")
    assert all(weight.dtype == torch.float32 for weight in low.parameters())
    weights = [torch.cat([w.flatten() for w in network.parameters()]) for network in (full, low)]
    assert not torch.equal(*weights)
    torch.testing.assert_close(*weights, atol=1e-2, rtol=0)
    assert other == pytest.approx(row, abs=0.1)


class Shared(Engine):
    """The second of three processes, as far as a feed looks."""

    rank, processes = 1, 3


def test_a_process_has_its_places_of_the_whole_batch(digits):
    whole = Feed(digits, 12, 0, Engine("cpu"), labelled=True)
    part = Feed(digits, 12, 0, Shared("cpu"), labelled=True)
    for number in (0, 7, 500):
        one, other = whole.batch(number), part.batch(number)
        assert torch.equal(one.images[4:8], other.images)
        assert torch.equal(one.labels[4:8], other.labels)
        for name in ("keys", "places", "indices"):
            assert np.array_equal(getattr(one, name)[4:8], getattr(other, name))
        assert torch.equal(whole.normal("x", number, 3)[4:8], part.normal("x", number, 3))
        assert np.array_equal(whole.keys("x", number)[4:8], part.keys("x", number))
    with pytest.raises(InputError, match="choose a multiple"):
        Feed(digits, 10, 0, Shared("cpu"), labelled=True)


def test_batch_norm_of_a_part_of_the_batch_is_refused():
    engine = object.__new__(FabricEngine)
    engine.processes = 2
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    with pytest.raises(InputError, match="convert_sync_batchnorm"):
        engine.start_alike([network])
