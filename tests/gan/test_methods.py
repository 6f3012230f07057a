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
import time
from pathlib import Path

import pytest
import torch
from tiny import autoencoder, content, equal, method_of, pictures, trainer_of

from augmentor import LatentAugment
from augmentor._internal.random import seeded
from augmentor.autoencoders import autoencoders
from augmentor.exceptions import InputError, UnknownNameError
from augmentor.gan import GAN, GANSettings, GANTrainer, get_augmentation, get_method, load_generator
from augmentor.gan.methods import methods

EVERY = pytest.mark.parametrize("name", methods.names())


@EVERY
@pytest.mark.parametrize(
    ("image_shape", "num_classes", "latents"),
    [((1, 8, 8), 0, None), ((3, 17, 20), 3, "spatial_kl(channels=3, latent_channels=2, width=4)")],
    ids=["grey", "rgb"],
)
def test_images_and_latents_of_every_kind(name, image_shape, num_classes, latents, tmp_path, global_rng_untouched):
    own = {}
    if latents:
        with seeded(0, "autoencoder"):
            own = {"autoencoder": autoencoders.build(latents).eval(), "network": "dcgan(width=4)"}
    trainer = trainer_of(method_of(name, image_shape, num_classes, **own), steps=2, batch_size=4, out=tmp_path)
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
    trained = trainer_of(method).fit(pictures())
    assert not equal(trained, trainer_of(method_of(name, seed=1), seed=1).fit(pictures()))
    for part, network in method.networks().items():
        assert not equal(before[part], network), part
    assert equal(given, autoencoder())
    # What is trained is what the optimisers have, each weight in one of them.
    groups = [group["params"] for optimizer in method.optimizers.values() for group in optimizer.param_groups]
    weights = [id(weight) for group in groups for weight in group]
    assert len(set(weights)) == len(weights)
    assert set(weights) <= {id(weight) for network in method.networks().values() for weight in network.parameters()}


def resumable(name: str, **settings) -> GANTrainer:
    """A trainer whose parts have states of their own: spectral norms, and an augmentation where one is taken."""
    p, takes = "adaptive(images=150, every=3, start=0.5)", methods.get(name).takes_augmentation
    augmentation = get_augmentation("both", LatentAugment(autoencoder()), p=p) if takes else None
    parts = {"network": "resnet(width=8, latent_dim=4)"}
    parts |= {"r1_every": 3, "discriminator_steps": 2} if methods.get(name).adversarial else {}
    return trainer_of(method_of(name, augmentation=augmentation, **parts), **settings)


def same_end(folder: Path, name: str, **settings) -> None:
    """Resumes the run in a folder and compares all that it ends with to an undisturbed one."""
    resumed, undisturbed = resumable(name, out=folder, **settings), resumable(name, **settings)
    expected = undisturbed.fit(pictures())
    assert equal(resumed.fit(pictures()), expected)
    assert resumed.history == undisturbed.history
    for part, network in undisturbed.method.networks().items():
        assert equal(network, resumed.method.networks()[part]), part
    assert equal(load_generator(folder / "generator.safetensors"), expected)


@EVERY
def test_a_run_that_was_stopped_ends_as_one_that_was_not(name, tmp_path):
    broken = resumable(name, out=tmp_path)
    step = broken.method.step

    def stopping(number):
        if number == 3:  # in the middle of the second round
            raise KeyboardInterrupt
        return step(number)

    broken.method.step = stopping
    with pytest.raises(KeyboardInterrupt):
        broken.fit(pictures())
    same_end(tmp_path, name)


_KILLED = """
import sys, time, torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[2])
from test_methods import pictures, resumable
trainer = resumable("guided-gan", steps=20, round_steps=3, out=sys.argv[1])
step = trainer.method.step
trainer.method.step = lambda number: time.sleep(0.05) or step(number)
trainer.fit(pictures())
"""


@pytest.mark.slow
def test_a_killed_process_resumed_ends_with_the_same_weights_bit_for_bit(tmp_path):
    """The method with the most to save."""
    history = tmp_path / "history.jsonl"
    arguments = [sys.executable, "-c", _KILLED, str(tmp_path), str(Path(__file__).parent)]
    with subprocess.Popen(arguments, env={**os.environ, "OMP_NUM_THREADS": "1"}) as process:
        while not (history.exists() and history.read_text().count("\n") >= 2):
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.005)
        time.sleep(0.03)
        process.kill()
    assert 2 <= history.read_text().count("\n") < 7
    same_end(tmp_path, "guided-gan", steps=20, round_steps=3)
    assert not [path for path in content(tmp_path) if path.endswith(".partial")]


def refused(whether: bool, said: str):
    return pytest.raises(InputError, match=said) if whether else contextlib.nullcontext()


@EVERY
def test_what_it_declares_is_so(name):
    member, parts = methods.get(name), {"image_shape": (1, 8, 8), "network": "dcgan(width=4)"}
    assert {field.name for field in dataclasses.fields(GANSettings)} <= inspect.signature(member).parameters.keys()
    with refused(member.needs_autoencoder, "missing a required argument: 'autoencoder'"):
        get_method(name, **parts)
    with refused(not member.takes_augmentation, f"the discriminator of training method {name!r} takes no images"):
        get_method(name, **parts, autoencoder=autoencoder(), augmentation=get_augmentation("ada"))
    with pytest.raises(UnknownNameError, match="did you mean 'discriminator_steps'"):
        get_method(f"{name}(discriminator_stebs=2)", **parts, autoencoder=autoencoder())


# Texts and networks


def test_a_text_sets_what_the_settings_leave_open():
    shape = {"image_shape": (1, 8, 8), "network": "dcgan(width=8)"}
    method = get_method("gan(discriminator_steps=3)", **shape, discriminator_steps=2, loss=None, lr=1e-3)
    assert (method.discriminator_steps, method.lr, str(method.loss)) == (3, 1e-3, "nonsaturating()")
    assert get_method(method) is method
    assert method.generator.width == method.discriminator.width == 8
    with pytest.raises(InputError, match=r"give image_shape=\(C, H, W\)"):
        get_method("gan")
    with pytest.raises(InputError, match="follows the signs of logits"):
        get_method("gan(loss='wgan_gp')", **shape, augmentation=get_augmentation("ada"))
    assert [get_method("gan", **shape, loss=loss).r1_gamma for loss in ("wgan_gp", "hinge")] == [0, 1]
    assert get_method("gan", **shape, loss="wgan_gp", r1_gamma=2.0).r1_gamma == 2


@pytest.mark.parametrize("settings", [{"num_classes": 10}, {"image_shape": (1, 16, 16)}])
def test_networks_that_do_not_match_are_refused(settings):
    shape = {"image_shape": (1, 8, 8), "network": "dcgan(width=4)"}
    pair = get_method("gan", **shape | settings).generator, get_method("gan", **shape).discriminator
    with pytest.raises(InputError, match="build both with the same image_shape"):
        GAN(pair)


def test_a_setting_that_there_is_not_is_answered_with_the_right_one():
    with pytest.raises(UnknownNameError, match=r"no setting 'augment'.*did you mean 'augmentation'"):
        get_method("gan", image_shape=(1, 8, 8), augment="both")
