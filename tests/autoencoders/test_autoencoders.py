"""The contract of an autoencoder, held by every registered family. A new family is tested by being registered."""

from __future__ import annotations

import pytest
import torch

from augmentor._internal.registry import arguments_of, describe
from augmentor._internal.weights import load_network, save_network
from augmentor.autoencoders import Autoencoder, autoencoders
from augmentor.autoencoders.corruption import corruptions
from augmentor.autoencoders.likelihood import likelihoods
from augmentor.exceptions import InputError, RangeError, ShapeError, UnknownNameError

NAMES = autoencoders.names()
LIKELIHOODS = likelihoods.names()
CORRUPTIONS = ["none", "gaussian(std=0.3)", "masking(rate=0.25)"]
SIZES = [(8, 8), (28, 28), (32, 32), (37, 50)]
OF_ONE_SIZE = [name for name in NAMES if autoencoders.get(name).example().image_shape[1] is not None]


def build(name: str, **changes: object) -> Autoencoder:
    """The family's example with some arguments changed, its first weights the same at each call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        example = autoencoders.get(name).example()
        return autoencoders.create(name, {**arguments_of(example), **changes}).eval()


def sized(name: str, height: int, width: int, channels: int = 1) -> Autoencoder:
    """The family's example for images of this shape."""
    if name in OF_ONE_SIZE:
        return build(name, image_shape=(channels, height, width))
    return build(name, channels=channels)


def some_images(model: Autoencoder, count: int = 4, seed: int = 0) -> torch.Tensor:
    channels, height, width = (8 if n is None else n for n in model.image_shape)
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(seed))


def losses(model: Autoencoder, images: torch.Tensor, seed: int, progress: float = 1.0) -> dict[str, torch.Tensor]:
    return model.training_losses(images, torch.Generator().manual_seed(seed), progress)


def test_the_families_of_the_foundation_are_registered():
    assert {"dense", "conv", "vae", "spatial_kl"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_encode_gives_latents_of_the_stated_shape(name):
    model = build(name)
    posterior = model.encode(some_images(model, 5))
    assert len(posterior.mean) == 5
    assert posterior.mean.dtype == torch.float32
    assert posterior.mean.isfinite().all()
    assert len(model.latent_shape) == posterior.mean.ndim - 1
    for stated, got in zip(model.latent_shape, posterior.mean.shape[1:], strict=True):
        assert stated in (None, got)
    if posterior.std is not None:
        assert posterior.std.shape == posterior.mean.shape
        assert (posterior.std > 0).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_decode_gives_float_images_between_0_and_1(name, likelihood):
    model = build(name, likelihood=likelihood)
    images = some_images(model)
    latents = 50 * model.encode(images).mean  # far outside, so that the range has to be enforced
    decoded = model.decode(latents)
    assert decoded.shape == images.shape
    assert decoded.dtype == torch.float32
    assert decoded.min() >= 0
    assert decoded.max() <= 1
    assert decoded.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_uint8_and_float_images_give_the_same_latents(name):
    model = build(name)
    levels = (some_images(model) * 255).round().to(torch.uint8)
    assert torch.equal(model.encode(levels).mean, model.encode(levels.float() / 255).mean)


@pytest.mark.parametrize("name", NAMES)
def test_half_and_double_images_are_taken(name):
    model = build(name)
    images = some_images(model)
    for dtype in (torch.float16, torch.float64):
        torch.testing.assert_close(model.encode(images.to(dtype)).mean, model.encode(images).mean, atol=2e-2, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_in_double_precision_takes_the_same_images(name):
    model = build(name)
    images = some_images(model)
    expected = model(images)
    got = model.double()(images)
    assert got.dtype == torch.float64
    torch.testing.assert_close(got.float(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_row_does_not_depend_on_its_batch(name):
    model = build(name)
    images = some_images(model, 6)
    together = model(images)
    apart = torch.cat([model(image[None]) for image in images])
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_size_and_depth_comes_back_as_it_went(name, size, channels):
    model = sized(name, *size, channels)
    images = torch.rand(2, channels, *size)
    assert model(images).shape == images.shape
    total = torch.stack(list(losses(model, images, 0).values())).sum()
    assert total.isfinite()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_a_saved_network_is_the_same_bit_for_bit(name, likelihood, corruption, tmp_path):
    model = build(name, likelihood=likelihood, corruption=corruption)
    images = some_images(model)
    model.stats.fit([model.encode(images).mean])
    save_network(model, tmp_path / "model.safetensors")
    again = load_network(tmp_path / "model.safetensors", autoencoders)
    assert type(again) is type(model)
    assert not again.training
    assert describe(again) == describe(model)
    assert torch.equal(again(images), model(images))
    for key, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key


@pytest.mark.parametrize("name", NAMES)
def test_the_text_form_builds_the_same_network(name):
    model = build(name)
    assert describe(autoencoders.build(describe(model))) == describe(model)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_training_losses_reach_every_parameter(name, likelihood):
    model = build(name, likelihood=likelihood).train()
    torch.stack(list(losses(model, some_images(model), 0).values())).sum().backward()
    for parameter, value in model.named_parameters():
        assert value.grad is not None, parameter
        assert value.grad.isfinite().all(), parameter
        assert value.grad.abs().sum() > 0, parameter


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_black_and_white_images_have_finite_losses(name, likelihood, level):
    model = build(name, likelihood=likelihood)
    images = torch.full_like(some_images(model), level)
    for loss, value in losses(model, images, 0).items():
        assert value.ndim == 0, loss
        assert value.isfinite(), loss
        assert value >= 0, loss


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_the_generator_is_the_only_chance_in_the_losses(name, corruption, global_rng_untouched):
    model = build(name, corruption=corruption).train()
    images = some_images(model)
    first, again, other = (losses(model, images, seed) for seed in (3, 3, 4))
    for loss, value in first.items():
        assert torch.equal(value, again[loss]), loss
    if corruption != "none":
        assert not torch.equal(first["reconstruction"], other["reconstruction"])


@pytest.mark.parametrize("name", NAMES)
def test_a_few_steps_lower_the_loss(name):
    model = build(name).train()
    images = some_images(model, 8)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    seen = []
    for _ in range(30):
        loss = losses(model, images, 0)["reconstruction"]
        seen.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert seen[-1] < seen[0]


@pytest.mark.parametrize("name", [name for name in NAMES if "kl_warmup" in arguments_of(build(name))])
def test_the_kl_term_rises_over_the_warm_up(name):
    model = build(name, kl_warmup=0.5)
    images = some_images(model)
    at_start, at_quarter, at_half, at_end = (losses(model, images, 0, p)["kl"] for p in (0.0, 0.25, 0.5, 1.0))
    assert at_start == 0
    torch.testing.assert_close(at_quarter, at_half / 2)
    assert torch.equal(at_half, at_end)
    assert at_end > 0


@pytest.mark.parametrize("name", NAMES)
def test_corruption_touches_training_and_not_encoding(name):
    clean, noisy = build(name), build(name, corruption="masking(rate=0.5)")
    images = some_images(clean)
    assert torch.equal(clean.encode(images).mean, noisy.encode(images).mean)
    assert losses(clean, images, 0)["reconstruction"] != losses(noisy, images, 0)["reconstruction"]


def test_masking_blackens_a_share_of_the_pixels_in_all_channels_alike():
    images = torch.rand(8, 3, 32, 32) * 0.9 + 0.05
    masked = corruptions.build("masking(rate=0.25)")(images, torch.Generator().manual_seed(0))
    gone = masked == 0
    assert torch.equal(gone[:, 0], gone[:, 1])
    assert torch.equal(gone[:, 0], gone[:, 2])
    assert abs(float(gone.float().mean()) - 0.25) < 0.02
    assert torch.equal(masked[~gone], images[~gone])


def test_gaussian_corruption_stays_in_range():
    images = torch.rand(8, 1, 32, 32)
    noisy = corruptions.build("gaussian(std=0.3)")(images, torch.Generator().manual_seed(0))
    assert noisy.min() == 0
    assert noisy.max() == 1
    inside = (noisy > 0) & (noisy < 1) & ((images - 0.5).abs() < 0.05)
    assert 0.2 < float((noisy - images)[inside].std()) < 0.35


@pytest.mark.parametrize("name", NAMES)
def test_wrong_channels_are_refused_with_advice(name):
    model = build(name)
    with pytest.raises(ShapeError, match=r"takes 1-channel images.*got 3 channels.*v2\.Grayscale"):
        model.encode(torch.rand(2, 3, 8, 8))


@pytest.mark.parametrize("name", OF_ONE_SIZE)
def test_a_wrong_size_is_refused_with_advice(name):
    model = build(name)
    with pytest.raises(ShapeError, match=r"\(B, 1, 8, 8\), got \(2, 1, 9, 8\); resize with v2\.Resize\(\(8, 8\)\)"):
        model.encode(torch.rand(2, 1, 9, 8))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), (1, 2, 1, 8, 8)], ids=str)
def test_a_wrong_number_of_dimensions_is_refused(name, shape):
    with pytest.raises(ShapeError, match="add or drop dimensions"):
        build(name).encode(torch.rand(shape))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("value", "said"),
    [(float("nan"), "NaN"), (float("inf"), "inf"), (float("-inf"), "-inf"), (-0.1, "-0.1"), (255.0, "255")],
)
def test_values_outside_the_range_are_refused_with_what_came(name, value, said):
    model = build(name)
    images = some_images(model)
    images[1, 0, 3, 3] = value
    with pytest.raises(RangeError, match=rf"\[0, 1\], got .*{said}.*; use v2\.ToDtype"):
        model.encode(images)


@pytest.mark.parametrize("name", NAMES)
def test_other_types_are_refused(name):
    model = build(name)
    with pytest.raises(InputError, match=r"uint8 or floating images, got torch\.int64"):
        model.encode(torch.zeros(2, 1, 8, 8, dtype=torch.int64))
    with pytest.raises(InputError, match="takes a tensor of images"):
        model.encode([[0.0]])


@pytest.mark.parametrize("name", NAMES)
def test_latents_of_another_shape_are_refused(name):
    model = build(name)
    latents = model.encode(some_images(model)).mean
    with pytest.raises(ShapeError, match="decodes raw latents"):
        model.decode(torch.cat([latents, latents], dim=1))
    with pytest.raises(ShapeError, match="decodes raw latents"):
        model.decode(latents[0])
    with pytest.raises(ShapeError, match="smaller than size"):
        model.decode(latents, size=(512, 512))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"likelihood": "poisson"}, UnknownNameError),
        ({"likelihood": "edges(weight=-1)"}, InputError),
        ({"likelihood": "edges(scales=9)"}, InputError),
        ({"corruption": "blur"}, UnknownNameError),
        ({"corruption": "gaussian(std=0)"}, InputError),
        ({"corruption": "masking(rate=1)"}, InputError),
        ({"no_such_argument": 1}, UnknownNameError),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(name, changes, error):
    with pytest.raises(error):
        build(name, **changes)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, -1])
def test_widths_below_one_are_refused(name, value):
    sizes = [a for a in arguments_of(build(name)) if a in ("width", "latent_dim", "latent_channels", "downsamples")]
    assert sizes
    for argument in sizes:
        with pytest.raises(InputError, match=argument):
            build(name, **{argument: value})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [-0.1, 1.5])
def test_shares_outside_0_to_1_are_refused(name, value):
    shares = [a for a in arguments_of(build(name)) if a in ("kl_warmup",)]
    for argument in shares:
        with pytest.raises(InputError, match=argument):
            build(name, **{argument: value})
    with pytest.raises(InputError, match="rate"):
        build(name, corruption=f"masking(rate={value})")


@pytest.mark.parametrize("name", OF_ONE_SIZE)
@pytest.mark.parametrize("shape", [(1, 7, 8), (1, 8, 129), (2, 8, 8), (4, 32, 32)], ids=str)
def test_image_shapes_out_of_scope_are_refused(name, shape):
    with pytest.raises(ShapeError, match="8 to 128"):
        build(name, image_shape=shape)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OF_ONE_SIZE])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 8), (9, 11), (28, 28), (37, 50), (128, 96), (375, 500)], ids=str)
def test_one_network_of_any_size_takes_many(name, size):
    model = build(name)
    images = torch.rand(2, 1, *size)
    assert model(images).shape == images.shape


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OF_ONE_SIZE])
def test_what_the_stride_does_not_divide_is_mirrored(name):
    model = build(name)
    height, width = 3 * model.stride - 1, 4 * model.stride - 2
    images = torch.rand(2, 1, height, width)
    mirrored = torch.nn.functional.pad(images, (0, 2, 0, 1), mode="reflect")
    assert torch.equal(model.encode(images).mean, model.encode(mirrored).mean)
    assert torch.equal(model(images), model(mirrored)[..., :height, :width])


@pytest.mark.parametrize(("norm", "alike"), [("none", True), ("group", False)])
def test_without_a_norm_a_piece_has_the_codes_that_it_has_in_the_whole(norm, alike):
    model = build("spatial_kl", norm=norm)
    image = torch.rand(1, 1, 96, 96)
    inner = model.encode(image[..., 16:80, 16:80]).mean[..., 5:-5, 5:-5]
    assert torch.allclose(inner, model.encode(image).mean[..., 9:-9, 9:-9], atol=1e-5) is alike
    with pytest.raises(InputError, match="norm 'group' or 'none', got 'batch'"):
        build("spatial_kl", norm="batch")


@pytest.mark.parametrize("name", NAMES)
def test_an_rgb_network_takes_grey_images_and_gives_grey_ones(name):
    model = sized(name, 8, 8, channels=3)
    grey = torch.rand(2, 1, 8, 8, requires_grad=True)
    as_rgb = grey.expand(-1, 3, -1, -1)
    assert torch.equal(model.encode(grey).mean, model.encode(as_rgb).mean)
    torch.testing.assert_close(model(grey), model(as_rgb).mean(1, keepdim=True))
    model(grey).sum().backward()
    assert grey.grad.abs().sum() > 0
    assert model.decode(model.encode(grey).mean).shape[1] == 3  # nothing says that it was grey
    on_grey, on_rgb = losses(model, grey.detach(), 0), losses(model, as_rgb.detach(), 0)
    torch.testing.assert_close(on_grey, on_rgb)
    with pytest.raises(ShapeError, match="takes 3-channel images"):
        model.encode(torch.rand(2, 2, 8, 8))


def test_edges_are_worth_more_than_levels_to_the_loss_for_edges():
    """Two reconstructions with equal squared error: stripes all gone, and stripes a little too bright."""
    stripes = torch.tensor([0.4, 0.6]).repeat(8).expand(1, 1, 16, 16)
    gone, bright = torch.full_like(stripes, 0.5), stripes + 0.1
    squares, edges = likelihoods.build("gaussian"), likelihoods.build("edges")
    torch.testing.assert_close(squares.loss(gone, stripes), squares.loss(bright, stripes))
    assert edges.loss(bright, stripes) < 0.6 * edges.loss(gone, stripes)
    flat = likelihoods.build("edges(weight=0)")
    torch.testing.assert_close(flat.loss(gone, stripes), flat.loss(bright, stripes))
