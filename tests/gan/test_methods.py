"""What every training method promises: shapes, exact resume, what it saves. New members are picked up."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import autoencoder, content, equal, method_of, pictures, trainer_of

from augmentor import LatentAugment
from augmentor.exceptions import InputError, TrainingError, UnknownNameError
from augmentor.gan import GAN, GANSettings, GANTrainer, get_augmentation, get_method, load_generator
from augmentor.gan.methods import methods

EVERY = pytest.mark.parametrize("name", methods.names())


@EVERY
@pytest.mark.parametrize(("image_shape", "num_classes"), [((1, 8, 8), 0), ((3, 17, 20), 3)], ids=["grey", "rgb"])
def test_images_of_every_kind(name, image_shape, num_classes, tmp_path, global_rng_untouched):
    trainer = trainer_of(method_of(name, image_shape, num_classes), steps=2, batch_size=4, out=tmp_path)
    generator = trainer.fit(pictures(image_shape, num_classes, 12))
    images = trainer.sample(generator, 6)
    assert images.shape == (6, *image_shape)
    assert 0 <= images.min() < images.max() <= 1
    assert (generator.image_shape, generator.num_classes, generator.training) == (image_shape, num_classes, False)
    assert torch.equal(trainer.sample(load_generator(tmp_path / "generator.safetensors"), 6), images)
    assert json.loads((tmp_path / "run.json").read_text())["method"] == name


@EVERY
def test_every_network_that_it_names_is_trained_and_the_autoencoder_given_is_not(name):
    given = autoencoder()
    method = method_of(name, autoencoder=given)
    before = copy.deepcopy(method.networks())
    trainer_of(method).fit(pictures())
    for part, network in method.networks().items():
        assert not equal(before[part], network), part
    assert equal(given, autoencoder())
    # What is trained is what the optimisers have, each weight in one of them.
    groups = [group["params"] for optimizer in method.optimizers.values() for group in optimizer.param_groups]
    weights = [id(weight) for group in groups for weight in group]
    assert len(set(weights)) == len(weights)
    assert set(weights) <= {id(weight) for network in method.networks().values() for weight in network.parameters()}


@EVERY
def test_the_seed_decides_the_weights_at_the_start_and_at_the_end(name):
    def trained(seed):
        return trainer_of(method_of(name, seed=seed), seed=seed).fit(pictures())

    first = trained(0)
    torch.manual_seed(5)
    assert equal(first, trained(0))
    assert not equal(first, trained(1))


class StopHere(Exception):
    """Stands for whatever ends a process."""


@EVERY
def test_a_run_that_was_stopped_ends_as_one_that_was_not(name, tmp_path):
    whole, broken = trainer_of(method_of(name)), method_of(name)
    expected, step = whole.fit(pictures()), broken.step

    def stopping(number):
        if number == 3:  # in the middle of the second round
            raise StopHere
        return step(number)

    broken.step = stopping
    with pytest.raises(StopHere):
        trainer_of(broken, out=tmp_path).fit(pictures())
    resumed = trainer_of(method_of(name), out=tmp_path)
    assert equal(resumed.fit(pictures()), expected)
    assert resumed.history == whole.history
    for part, network in whole.method.networks().items():
        assert equal(network, resumed.method.networks()[part]), part


@EVERY
def test_weights_that_are_no_numbers_stop_it(name, tmp_path):
    method = method_of(name)
    step = method.step

    def poisoned(number):
        logs = step(number)
        with torch.no_grad():
            next(iter(method.optimizers.values())).param_groups[0]["params"][0].fill_(torch.nan)
        return logs

    method.step = poisoned
    with pytest.raises(TrainingError, match="the last good checkpoint is kept"):
        trainer_of(method, out=tmp_path).fit(pictures())
    assert not (tmp_path / "checkpoint.pt").exists()


def refused(whether: bool, said: str):
    return pytest.raises(InputError, match=said) if whether else contextlib.nullcontext()


@EVERY
def test_what_it_declares_is_so(name):
    member, parts = methods.get(name), {"image_shape": (1, 8, 8), "network": "dcgan(width=4)"}
    assert {field.name for field in dataclasses.fields(GANSettings)} <= inspect.signature(member).parameters.keys()
    with refused(member.needs_autoencoder, "missing a required argument: 'autoencoder'"):
        get_method(name, **parts)
    with refused(not member.takes_augmentation, f"{name!r} shows its discriminator no images"):
        get_method(name, **parts, autoencoder=autoencoder(), augmentation=get_augmentation("ada"))
    with pytest.raises(UnknownNameError, match="did you mean 'discriminator_steps'"):
        get_method(f"{name}(discriminator_stebs=2)", **parts, autoencoder=autoencoder())


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
        step = trainer.method.step
        trainer.method.step = lambda number: time.sleep(0.05) or step(number)
        trainer.fit(pictures())
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
    """A run of seven rounds, with an augmentation that has a state where the method takes one."""
    p, takes = "adaptive(images=150, every=3, start=0.5)", methods.get(name).takes_augmentation
    augmentation = get_augmentation("both", LatentAugment(autoencoder()), p=p) if takes else None
    return trainer_of(method_of(name, augmentation=augmentation), steps=20, round_steps=3, out=out)


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    arguments = [sys.executable, "-c", _KILLED, str(folder), str(Path(__file__).parent), *methods.names()]
    process = subprocess.run(
        arguments, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return folder


@pytest.mark.slow
@EVERY
def test_a_killed_process_resumed_ends_with_the_same_weights_bit_for_bit(name, killed):
    folder = killed / name
    assert 2 <= (folder / "history.jsonl").read_text().count("\n") < 7
    assert not (folder / "generator.safetensors").exists()
    resumed, undisturbed = killable(name, str(folder)), killable(name, None)
    expected = undisturbed.fit(pictures())
    assert equal(resumed.fit(pictures()), expected)
    assert resumed.history == undisturbed.history
    for part, network in undisturbed.method.networks().items():
        assert equal(network, resumed.method.networks()[part]), part
    assert equal(load_generator(folder / "generator.safetensors"), expected)
    assert not [path for path in content(folder) if path.endswith(".partial")]


# Texts and networks


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
    assert [get_method("gan", **shape, loss=loss).r1_gamma for loss in ("wgan_gp", "hinge")] == [0, 1]
    assert get_method("gan", **shape, loss="wgan_gp", r1_gamma=2.0).r1_gamma == 2


def test_a_method_of_ones_own_takes_the_shared_settings(monkeypatch):
    monkeypatch.setattr(methods, "members", dict(methods.members))

    @methods.register("own")
    class Own(GAN):
        def __init__(self, network="dcgan", *, weight=1.0, r1_every=8, **settings):
            super().__init__(network, r1_every=r1_every, **settings)
            self.weight = weight

    method = get_method("own(weight=2, loss='hinge')", image_shape=(1, 8, 8), network="dcgan(width=4)")
    assert (method.name, method.weight, method.r1_every, method.loss.name) == ("own", 2, 8, "hinge")
    with pytest.raises(ValueError, match="'own' is already"):
        methods.register("own")(GAN)


@pytest.mark.parametrize("settings", [{"num_classes": 10}, {"image_shape": (1, 16, 16)}])
def test_networks_that_do_not_match_are_refused(settings):
    shape = {"image_shape": (1, 8, 8), "network": "dcgan(width=4)"}
    pair = get_method("gan", **shape | settings).generator, get_method("gan", **shape).discriminator
    with pytest.raises(InputError, match="build them alike"):
        GAN(pair)
