"""What is said of images that do not fit: every message has a line that mends them."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from augmentor._internal.checks import check_images, check_range
from augmentor.exceptions import InputError, RangeError, ShapeError


@pytest.mark.parametrize("high", [1, 4095, 65535])
def test_uint16_is_refused_with_lines_that_work(high):
    images = torch.linspace(0, high, 64).reshape(1, 1, 8, 8).to(torch.uint16)
    with pytest.raises(InputError, match=r"got torch\.uint16") as caught:
        check_range(images, "it")
    line, _, of_arrays = str(caught.value).partition("use ")[2].partition(", or for an array of all images ")
    made = v2.Compose(eval(f"[{line}]"))(images)
    assert np.allclose(eval(of_arrays, {"x": images.numpy()}), made)
    check_range(made, "it")
    assert torch.allclose(made * 65535, images.float())


@pytest.mark.parametrize(("low", "high"), [(0, 254), (0, 4095), (-1000, 3000), (-2.1179, 2.64), (100, 300), (7, 7)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int16, torch.float64])
def test_values_outside_0_to_1_are_refused_with_a_line_that_works(low, high, dtype):
    x = torch.linspace(low, high, 64).reshape(1, 1, 8, 8).to(dtype)
    with pytest.raises(InputError, match="scale them with") as caught:
        check_range(x, "it")
    made = eval(re.search(r"here (.*?)(, or|$)", str(caught.value)).group(1))
    check_range(made, "it")
    assert torch.equal(made.flatten().argsort(stable=True), x.flatten().argsort(stable=True))
    if high == 254:
        assert torch.allclose(made, x / 255)


def test_nan_and_infinity_are_refused_with_a_line_that_works():
    for value, seen in ((float("nan"), "NaN"), (float("inf"), "to inf"), (float("-inf"), "from -inf")):
        x = torch.rand(1, 1, 8, 8)
        x[0, 0, 3, 3] = value
        with pytest.raises(RangeError, match=rf"got .*{seen}.*torch\.nan_to_num\(x\)"):
            check_range(x, "it")


@pytest.mark.parametrize(("expected", "channels"), [(3, 4), (1, 2), (3, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_alpha_is_refused_with_a_line_that_puts_the_image_on_white(expected, channels, dtype):
    x = torch.full((2, channels, 8, 8), 0.5)
    x[:, -1] = torch.tensor([0.0, 1.0])[:, None, None]  # the first of them is transparent
    x = v2.functional.to_dtype(x, dtype, scale=True)
    with pytest.raises(ShapeError, match=f"{channels} channels") as caught:
        check_images(x, (expected, 8, 8), "it")
    rows = x.permute(0, 2, 3, 1).numpy()
    scale, line = re.search(r"x = (.*\)), (x.*); or", str(caught.value)).groups()
    x = eval(scale)
    made = eval(line)
    check_images(made, (expected, 8, 8), "it")
    assert torch.allclose(made.mean((1, 2, 3)), torch.tensor([1.0, 0.5]), atol=0.01)
    x = rows[1]  # a numpy image (H,W,C)
    x = eval(scale)
    assert torch.equal(eval(line), made[1])


def test_grey_passes_for_rgb_and_for_nothing_else():
    grey = torch.rand(2, 1, 8, 8)
    check_images(grey, (3, 8, 8), "it")
    with pytest.raises(ShapeError, match="12-channel images"):
        check_images(grey, (12, 8, 8), "it")
    with pytest.raises(ShapeError, match=r"v2\.Grayscale\(\)") as caught:
        check_images(grey.expand(-1, 3, -1, -1), (1, 8, 8), "it")
    check_images(
        eval(re.search(r"v2\.Grayscale\(\)", str(caught.value)).group())(torch.rand(2, 3, 8, 8)), (1, 8, 8), ""
    )
