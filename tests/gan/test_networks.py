"""Every pair of GAN networks keeps the contract of `gan/networks/_base.py`."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from augmentor._internal.weights import load_network, save_network
from augmentor.exceptions import InputError, ShapeError, UnknownNameError
from augmentor.gan import discriminators, generators
from augmentor.gan.networks import get_discriminator, get_generator

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 9, 13), (3, 8, 128), (1, 31, 17)]

# Those that draw with a decoder have no counterpart: tests/gan/test_methods_of_autoencoders.py has them.
pair = pytest.mark.parametrize("name", discriminators.names())
classes = pytest.mark.parametrize("num_classes", [0, 3])


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)  # initial weights come from the global generator


def labels_for(num_classes: int, rows: int) -> torch.Tensor | None:
    return torch.arange(rows) % num_classes if num_classes else None


def test_every_discriminator_has_a_generator():
    assert {"dcgan", "resnet"} <= set(discriminators.names()) <= set(generators.names())


def test_unknown_names_are_refused_with_a_guess():
    with pytest.raises(UnknownNameError, match="did you mean 'dcgan'"):
        get_generator("dcgn")
    with pytest.raises(UnknownNameError, match="did you mean 'resnet'"):
        get_discriminator("resnt")


@pair
@classes
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes_and_ranges(name, shape, num_classes):
    generator = get_generator(name)(shape, latent_dim=5, width=4, num_classes=num_classes)
    discriminator = get_discriminator(name)(shape, width=4, num_classes=num_classes)
    labels = labels_for(num_classes, 3)
    images = generator(torch.randn(3, 5), labels)
    assert images.shape == (3, *shape)
    assert images.dtype == torch.float32
    assert images.min() >= 0
    assert images.max() <= 1
    assert images.std() > 0
    logits = discriminator(images, labels)
    assert logits.shape == (3,)
    assert logits.isfinite().all()


@pair
@classes
def test_examples_are_tiny(name, num_classes):
    generator = get_generator(name).example(num_classes)
    discriminator = get_discriminator(name).example(num_classes)
    assert generator.image_shape == discriminator.image_shape == (1, 8, 8)
    assert generator.num_classes == discriminator.num_classes == num_classes
    assert sum(p.numel() for net in (generator, discriminator) for p in net.parameters()) < 30_000


@pair
@classes
def test_gradients_reach_every_parameter(name, num_classes):
    # Width 16, for at width 8 each channel is a group of its own and a bias before the norm has no effect.
    generator = get_generator(name)((1, 16, 16), latent_dim=5, width=16, num_classes=num_classes)
    discriminator = get_discriminator(name)((1, 16, 16), width=16, num_classes=num_classes)
    labels = labels_for(num_classes, 6)
    discriminator(generator(torch.randn(6, 5), labels), labels).sum().backward()
    for network in (generator, discriminator):
        for parameter_name, parameter in network.named_parameters():
            assert parameter.grad is not None, parameter_name
            assert parameter.grad.isfinite().all(), parameter_name
            assert parameter.grad.abs().sum() > 0, parameter_name


@pair
@classes
@pytest.mark.parametrize("training", [True, False])
def test_a_row_does_not_depend_on_its_companions(name, num_classes, training):
    generator = get_generator(name).example(num_classes).train(training)
    discriminator = get_discriminator(name).example(num_classes).train(training)
    labels = labels_for(num_classes, 6)
    noise = torch.randn(6, generator.latent_dim)
    two = None if labels is None else labels[:2]
    with torch.no_grad():
        images = generator(noise, labels)
        torch.testing.assert_close(generator(noise[:2], two), images[:2], rtol=1e-5, atol=1e-6)
        # A forward in train mode is one step of the spectral norm's iteration: start both from one state.
        twin = copy.deepcopy(discriminator)
        torch.testing.assert_close(twin(images[:2], two), discriminator(images, labels)[:2], rtol=1e-4, atol=1e-5)


@pair
def test_an_average_of_the_parameters_is_a_whole_generator(name):
    assert not list(get_generator(name).example(3).buffers())


@pair
@classes
def test_saved_networks_come_back_exactly(name, num_classes, tmp_path):
    generator = get_generator(name).example(num_classes)
    discriminator = get_discriminator(name).example(num_classes)
    labels = labels_for(num_classes, 4)
    noise = torch.randn(4, generator.latent_dim)
    optimizer = torch.optim.SGD(discriminator.parameters(), lr=0.1)
    for _ in range(3):  # moves weights, and the vectors of the spectral norm away from their start
        loss = discriminator(generator(noise, labels), labels).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    save_network(generator, tmp_path / "generator.safetensors")
    save_network(discriminator, tmp_path / "discriminator.safetensors")
    torch.manual_seed(1)  # other initial weights than those saved
    loaded_generator = load_network(tmp_path / "generator.safetensors", generators)
    loaded_discriminator = load_network(tmp_path / "discriminator.safetensors", discriminators)

    assert isinstance(loaded_generator, get_generator(name))
    assert loaded_generator.image_shape == generator.image_shape
    for before, after in ((generator, loaded_generator), (discriminator, loaded_discriminator)):
        assert before.state_dict().keys() == after.state_dict().keys()
        assert all(torch.equal(value, after.state_dict()[key]) for key, value in before.state_dict().items())
    with torch.no_grad():
        images = generator.eval()(noise, labels)
        assert torch.equal(loaded_generator(noise, labels), images)
        assert torch.equal(loaded_discriminator(images, labels), discriminator.eval()(images, labels))


def test_training_goes_on_exactly_from_the_spectral_norms_buffers():
    original = get_discriminator("resnet").example()
    images = torch.rand(4, 1, 8, 8)
    original(images)
    resumed = get_discriminator("resnet").example()
    resumed.load_state_dict(original.state_dict())
    for _ in range(3):
        assert torch.equal(resumed(images), original(images))


def test_every_layer_of_the_residual_discriminator_has_spectral_norm_one():
    discriminator = get_discriminator("resnet")((1, 16, 16), width=8, num_classes=3)
    for _ in range(50):
        discriminator(torch.rand(1, 1, 16, 16), torch.tensor([0]))
    weights = [m.weight for m in discriminator.modules() if hasattr(m, "parametrizations")]
    own = [m for m in discriminator.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
    assert len(weights) == len(own) + 1  # the embedding of classes as well
    for weight in weights:
        assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)


@pair
def test_labels_change_images_and_logits(name):
    generator, discriminator = get_generator(name).example(3), get_discriminator(name).example(3)
    noise = torch.randn(1, generator.latent_dim)
    zero, one = torch.tensor([0]), torch.tensor([1])
    images = generator(noise, zero)
    assert not torch.allclose(images, generator(noise, one), atol=1e-4)
    discriminator.eval()
    assert not torch.allclose(discriminator(images, zero), discriminator(images, one), atol=1e-4)


@pair
def test_wrong_labels_are_refused(name):
    noise, images = torch.randn(2, 6), torch.rand(2, 1, 8, 8)
    labels = torch.tensor([0, 1])
    for network, batch in (
        (get_generator(name).example(), noise),
        (get_discriminator(name).example(), images),
    ):
        with pytest.raises(InputError, match="unconditional"):
            network(batch, labels)
    for network, batch in (
        (get_generator(name).example(3), noise),
        (get_discriminator(name).example(3), images),
    ):
        with pytest.raises(InputError, match="no labels"):
            network(batch)
        with pytest.raises(InputError, match=r"class numbers \(2,\)"):
            network(batch, torch.tensor([0, 1, 2]))
        with pytest.raises(InputError, match="argmax"):
            network(batch, torch.eye(3)[:2])
        with pytest.raises(InputError, match="from 0 to 2, got 0 to 3"):
            network(batch, torch.tensor([0, 3]))
        with pytest.raises(InputError, match="got -1 to 0"):
            network(batch, torch.tensor([-1, 0]))


@pair
def test_wrong_inputs_are_refused(name):
    with pytest.raises(ShapeError, match=r"noise \(B, 6\), got \(2, 5\)"):
        get_generator(name).example()(torch.randn(2, 5))
    with pytest.raises(ShapeError, match=r"\(B, 1, 8, 8\), got \(2, 3, 8, 8\)"):
        get_discriminator(name).example()(torch.rand(2, 3, 8, 8))
    with pytest.raises(InputError, match="floating"):
        get_discriminator(name).example()(torch.zeros(2, 1, 8, 8, dtype=torch.uint8))


@pair
@pytest.mark.parametrize("shape", [(2, 8, 8), (1, 7, 8), (1, 8, 129), (1, 8)], ids=str)
def test_wrong_settings_are_refused(name, shape):
    with pytest.raises(ShapeError, match="8 to 128"):
        get_generator(name)(shape)
    with pytest.raises(ShapeError, match="8 to 128"):
        get_discriminator(name)(shape)
    with pytest.raises(InputError, match="latent_dim=0"):
        get_generator(name)(latent_dim=0)
    with pytest.raises(InputError, match="num_classes >= 0"):
        get_discriminator(name)(num_classes=-1)


@pair
def test_averaged_weights_follow_and_resume(name):
    def average(network):
        return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9))

    def step():
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.1)

    network = get_generator(name).example(3)
    start = [p.clone() for p in network.parameters()]
    ema = average(network)
    ema.update_parameters(network)  # the first update copies
    step()
    ema.update_parameters(network)
    for before, averaged in zip(start, ema.module.parameters(), strict=True):
        torch.testing.assert_close(averaged, before + 0.01)

    resumed = average(get_generator(name).example(3))
    resumed.load_state_dict(ema.state_dict())
    step()
    ema.update_parameters(network)
    resumed.update_parameters(network)
    for a, b in zip(ema.module.parameters(), resumed.module.parameters(), strict=True):
        assert torch.equal(a, b)
