"""The autoencoder that a training method starts from, of the images of the GAN alone."""

from __future__ import annotations

import pytest
import torch
from tiny import equal, pictures

from augmentor.exceptions import ShapeError
from augmentor.gan import start, starting_autoencoder
from augmentor.gan.start import untrained
from augmentor.quality import reconstruction_psnr


def test_its_latent_is_small_for_drawings_and_larger_for_photographs(few):
    assert untrained(few).latent_shape == (16,)
    for shape in ((3, 12, 10), (3, 8, 8)):
        model = untrained(pictures(shape))
        assert (model.image_shape, model.latent_shape) == (shape, (64,))


def test_it_learns_and_its_weights_are_those_of_the_seed(few):
    settings = {"batch_size": 16, "progress": False}
    trained = starting_autoencoder(few, steps=60, seed=3, **settings)
    assert reconstruction_psnr(trained, few) > reconstruction_psnr(untrained(few, 3).eval(), few) + 1
    assert trained.stats.fitted
    short = [starting_autoencoder(few, steps=2, seed=seed, **settings) for seed in (3, 3, 4)]
    assert equal(short[0], short[1])
    assert not equal(short[0], short[2])


def test_photographs_take_more_steps_than_drawings(few, monkeypatch):
    taken = []

    class Trainer:
        def __init__(self, model, *, steps, **_):
            taken.append(steps)

        def fit(self, dataset):
            return None

    monkeypatch.setattr(start, "AutoencoderTrainer", Trainer)
    for data in (few, pictures((3, 8, 8))):
        starting_autoencoder(data)
    starting_autoencoder(few, steps=7)
    assert taken == [1000, 2000, 7]


def test_a_finished_run_is_read(few, tmp_path, monkeypatch):
    first = starting_autoencoder(few, steps=2, out=tmp_path, progress=False)

    def no_step(*_):
        raise AssertionError("it is trained again")

    monkeypatch.setattr(type(first), "training_losses", no_step)
    assert equal(starting_autoencoder(few, steps=2, out=tmp_path, progress=False), first)


def test_images_that_are_too_large_for_a_gan_are_refused():
    with pytest.raises(ShapeError, match="8 to 128 pixels"):
        starting_autoencoder(torch.zeros(4, 3, 200, 200), steps=1)
