"""Building blocks of the networks."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from augmentor.autoencoders.blocks import EnlargingConv2d


@pytest.mark.parametrize(("before", "size"), [((4, 4), None), ((1, 3), None), ((5, 2), (10, 4)), ((4, 4), (7, 8))])
def test_enlarging_is_nearest_neighbours_and_then_the_convolution(before, size):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, *before, generator=generator, dtype=torch.float64, requires_grad=True)
    conv = EnlargingConv2d(3, 5, size).double()
    nearest = F.interpolate(x, size=size or (2 * before[0], 2 * before[1]), mode="nearest")
    expected, found = F.conv2d(nearest, conv.weight, conv.bias, padding=1), conv(x)
    torch.testing.assert_close(found, expected)
    weights = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    inputs = [x, *conv.parameters()]
    gradients = [torch.autograd.grad((made * weights).sum(), inputs) for made in (found, expected)]
    torch.testing.assert_close(*gradients)
