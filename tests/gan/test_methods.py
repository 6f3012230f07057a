"""What every training method promises, whichever it is: shapes, exact resume, what it saves. New members are picked up."""

from __future__ import annotations

import copy
import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from augmentor._internal.random import seeded
from augmentor._internal.weights import load_network
from augmentor.autoencoders import Autoencoder, ConvVAE
from augmentor.data import ArrayDataset
from augmentor.exceptions import InputError, TrainingError, UnknownNameError
from augmentor.gan import GAN, TrainingMethod, cannot_do_without, generators, get_augmentation, get_method, methods
from augmentor.training import GANTrainer

EVERY = pytest.mark.parametrize("name", methods.names())
# Grey and RGB, the smallest and the largest, odd and not square; with classes and without.
SHAPES = [((1, 8, 8), 3), ((3, 17, 20), 0), ((3, 32, 32), 3), ((1, 128, 128), 0)]


def pictures(image_shape: tuple[int, int, int], num_classes: int, count: int = 24) -> ArrayDataset:
    """Random pictures, each class with a brightness of its own."""
    images = torch.randint(0, 128, (count, *image_shape), generator=torch.Generator().manual_seed(0))
    targets = torch.arange(count) % max(1, num_classes)
    images = (images + 40 * targets[:, None, None, None]).to(torch.uint8)
    return ArrayDataset(images, targets, [str(n) for n in range(max(1, num_classes))])


@functools.cache
def autoencoder(image_shape: tuple[int, int, int]) -> Autoencoder:
    """A tiny one that has seen nothing but the scale of its latents."""
    with seeded(0, "autoencoder"):
        model = ConvVAE(image_shape, latent_dim=4, width=4)
    with torch.no_grad():
        model.stats.fit([model.encode(pictures(image_shape, 3).images).mean])
    return model.eval()


def system_of(name: str, image_shape: tuple[int, int, int] = (1, 8, 8), num_classes: int = 3) -> TrainingMethod:
    return get_method(
        name, image_shape=image_shape, num_classes=num_classes, network="dcgan(width=4, latent_dim=4)",
        autoencoder=copy.deepcopy(autoencoder(image_shape)), lr=1e-3,
    )  # fmt: skip


def trainer_of(method: TrainingMethod, **settings) -> GANTrainer:
    return GANTrainer(method, **{"steps": 5, "batch_size": 8, "round_steps": 2, "progress": False, **settings})


def equal(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    one, other = a.state_dict(), b.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@EVERY
@pytest.mark.parametrize(("image_shape", "num_classes"), SHAPES, ids=lambda value: str(value).replace(" ", ""))
def test_images_of_every_kind(name, image_shape, num_classes, global_rng_untouched):
    trainer = trainer_of(system_of(name, image_shape, num_classes), steps=2, batch_size=4)
    generator = trainer.fit(pictures(image_shape, num_classes, 12))
    images = trainer.sample(generator, 6)
    assert images.shape == (6, *image_shape)
    assert 0 <= images.min() < images.max() <= 1
    assert (generator.image_shape, generator.num_classes) == (image_shape, num_classes)
    assert not generator.training


@EVERY
def test_every_network_that_it_names_is_trained_and_the_autoencoder_given_is_not(name):
    given = copy.deepcopy(autoencoder((1, 8, 8)))
    method = get_method(
        name, image_shape=(1, 8, 8), num_classes=3, network="dcgan(width=4, latent_dim=4)", autoencoder=given, lr=1e-3
    )
    before = copy.deepcopy(method.networks())
    trainer_of(method).fit(pictures((1, 8, 8), 3))
    for part, network in method.networks().items():
        assert not equal(before[part], network), part
    assert equal(given, autoencoder((1, 8, 8)))
    # What is trained is what the optimisers have, each weight in one of them.
    weights = [
        w for optimizer in method.optimizers.values() for group in optimizer.param_groups for w in group["params"]
    ]
    known = {id(w) for network in method.networks().values() for w in network.parameters()}
    assert len({id(w) for w in weights}) == len(weights)
    assert {id(w) for w in weights} <= known


@EVERY
def test_the_seed_decides_the_weights_at_the_start_and_at_the_end(name):
    def trained(seed):
        method = get_method(
            name, image_shape=(1, 8, 8), num_classes=3, network="dcgan(width=4, latent_dim=4)", seed=seed,
            autoencoder=copy.deepcopy(autoencoder((1, 8, 8))),
        )  # fmt: skip
        return trainer_of(method, seed=seed).fit(pictures((1, 8, 8), 3))

    first = trained(0)
    torch.manual_seed(5)
    assert equal(first, trained(0))
    assert not equal(first, trained(1))


@EVERY
def test_a_saved_generator_draws_the_same_images(name, tmp_path):
    trainer = trainer_of(system_of(name), out=tmp_path)
    generator = trainer.fit(pictures((1, 8, 8), 3))
    loaded = load_network(tmp_path / "generator.safetensors", generators)
    assert torch.equal(trainer.sample(loaded, 9), trainer.sample(generator, 9))
    assert json.loads((tmp_path / "run.json").read_text())["method"] == name


class StopHere(Exception):
    """Stands for whatever ends a process."""


@EVERY
@pytest.mark.parametrize("at", [1, 3, 4])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(name, at, tmp_path):
    data = pictures((1, 8, 8), 3)
    whole = trainer_of(system_of(name))
    expected = whole.fit(data)
    broken = system_of(name)
    step = broken.step

    def stopping(number):
        if number == at:
            raise StopHere
        return step(number)

    broken.step = stopping
    with pytest.raises(StopHere):
        trainer_of(broken, out=tmp_path).fit(data)
    resumed = trainer_of(system_of(name), out=tmp_path)
    assert equal(resumed.fit(data), expected)
    assert resumed.history == whole.history
    for part, network in whole.method.networks().items():
        assert equal(network, resumed.method.networks()[part]), part


@EVERY
def test_weights_that_are_no_numbers_stop_it(name, tmp_path):
    method = system_of(name)
    step = method.step

    def poisoned(number):
        logs = step(number)
        with torch.no_grad():
            next(iter(method.optimizers.values())).param_groups[0]["params"][0].fill_(torch.nan)
        return logs

    method.step = poisoned
    with pytest.raises(TrainingError, match="the last good checkpoint is kept"):
        trainer_of(method, out=tmp_path).fit(pictures((1, 8, 8), 3))
    assert not (tmp_path / "checkpoint.pt").exists()


# A real process, killed. It forks one child a training method, so that the imports are paid once.

_KILLED = """
import os, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[2])
from test_methods import killable, pictures

for name in sys.argv[3:]:
    history = Path(sys.argv[1]) / name / "history.jsonl"
    child = os.fork()
    if not child:
        trainer = killable(name, str(history.parent))
        step = trainer.training method.step
        trainer.training method.step = lambda number: time.sleep(0.05) or step(number)
        trainer.fit(pictures((1, 8, 8), 3))
        os._exit(0)
    while not (history.exists() and history.read_text().count("\\n") >= 2):
        if os.waitpid(child, os.WNOHANG)[0]:
            sys.exit(f"{name} ended before it could be killed")
        time.sleep(0.005)
    time.sleep(0.03)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


def killable(name: str, out: str | None) -> GANTrainer:
    return trainer_of(system_of(name), steps=20, round_steps=3, out=out)


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    arguments = [sys.executable, "-c", _KILLED, str(folder), str(Path(__file__).parent), *methods.names()]
    process = subprocess.run(
        arguments, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return folder


@EVERY
def test_a_killed_process_resumed_ends_with_the_same_weights_bit_for_bit(name, killed):
    assert 2 <= (killed / name / "history.jsonl").read_text().count("\n") < 7
    assert not (killed / name / "generator.safetensors").exists()
    resumed, undisturbed = killable(name, str(killed / name)), killable(name, None)
    assert equal(resumed.fit(pictures((1, 8, 8), 3)), undisturbed.fit(pictures((1, 8, 8), 3)))
    assert resumed.history == undisturbed.history
    assert equal(load_network(killed / name / "generator.safetensors", generators), resumed.fit(pictures((1, 8, 8), 3)))


# Texts


def test_a_text_sets_what_the_settings_leave_open():
    shape = {"image_shape": (1, 8, 8), "network": "dcgan(width=8)"}
    method = get_method("gan(discriminator_steps=3)", **shape, discriminator_steps=2, loss=None, lr=1e-3)
    assert (method.discriminator_steps, method.lr, str(method.loss)) == (3, 1e-3, "nonsaturating()")
    assert get_method(method) is method
    assert method.generator.width == method.discriminator.width == 8
    with pytest.raises(UnknownNameError, match="did you mean 'gan'"):
        get_method("gam", **shape)
    with pytest.raises(InputError, match=r"give image_shape=\(C, H, W\)"):
        get_method("gan")
    with pytest.raises(InputError, match="follows the signs of logits"):
        get_method("gan(loss='wgan_gp')", **shape, augmentation=get_augmentation("ada"))
    get_method("gan(loss='wgan_gp')", **shape, augmentation=get_augmentation("ada", p="annealed"))


def test_what_a_system_has_no_use_for(monkeypatch):
    monkeypatch.setattr(methods, "_members", dict(methods._members))

    @methods.register("of-codes")
    class OfCodes(GAN):
        def __init__(self, autoencoder, *, image_shape, num_classes=0):
            super().__init__("dcgan(width=4)", image_shape=image_shape, num_classes=num_classes)

    model = autoencoder((1, 8, 8))
    assert get_method("of-codes", image_shape=(1, 8, 8), autoencoder=model, loss="hinge", seed=3).name == "of-codes"
    with pytest.raises(InputError, match="training method 'of-codes' shows its discriminator no images"):
        get_method("of-codes", image_shape=(1, 8, 8), autoencoder=model, augmentation=get_augmentation("ada"))
    with pytest.raises(InputError, match="missing a required argument: 'autoencoder'"):
        get_method("of-codes", image_shape=(1, 8, 8))
    assert cannot_do_without("of-codes", "autoencoder")
    assert not cannot_do_without("gan", "autoencoder")
    with pytest.raises(InputError, match="training method is a Training method"):
        GANTrainer("gan")
