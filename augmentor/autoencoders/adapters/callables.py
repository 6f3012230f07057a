"""Adapter of a pair of callables, one that encodes and one that decodes."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ...exceptions import InputError, ShapeError
from ..base import padded
from ._base import AdaptedAutoencoder

# Side in pixels of the image that determines the latent shape of a model for any size.
_PROBE = 64


class CallableAutoencoder(AdaptedAutoencoder):
    """An autoencoder of two callables: functions, modules or methods of modules.

    encode: maps float images (B,C,H,W) in `value_range` to raw latents (B,D) or (B,C,h,w), or to a pair of these and
        the standard deviation of the posterior, of the same shape.
    decode: maps raw latents to images in `value_range`.
    image_shape: (C,H,W); H and W are None for a model that accepts any size.
    stride: sizes are padded to a multiple of it by mirroring, and the reconstruction is cropped back.
    value_range: range of the pixels that the callables use, such as (-1, 1).
    modules: modules whose weights the callables use, if the callables are not modules or methods of modules. They move
        with ``.to(device)`` and are part of the fingerprint. In a copy, plain functions still use the original modules,
        so a copy cannot be moved or converted to bfloat16 (`InputError`).
    version: a string that is part of the fingerprint. Functions without weights need it, because otherwise two of them
        have the same fingerprint in a cache, in shards or in a saved config.

    If loader workers are spawned, the callables must be picklable: functions of a module, not lambdas. Raises
    `InputError` or `ShapeError` for arguments that do not fit together; both callables are called once with a grey
    image to check this.

    >>> from torch import nn
    >>> encode, decode = nn.Conv2d(3, 4, 4, stride=4), nn.ConvTranspose2d(4, 3, 4, stride=4)
    >>> CallableAutoencoder(encode, decode, (3, None, None), stride=4)(torch.rand(2, 3, 37, 50)).shape
    torch.Size([2, 3, 37, 50])
    """

    name = "callable"
    _left_behind = False

    def __init__(
        self,
        encode: Callable[[torch.Tensor], Any],
        decode: Callable[[torch.Tensor], torch.Tensor],
        image_shape: tuple[int, int | None, int | None],
        *,
        stride: int = 1,
        value_range: tuple[float, float] = (0.0, 1.0),
        modules: nn.Module | tuple[nn.Module, ...] = (),
        version: str = "",
    ):
        low, high = value_range
        if not (callable(encode) and callable(decode) and low < high and stride >= 1):
            raise InputError(
                "CallableAutoencoder takes two callables, a stride of at least 1 and a value_range (low, high), "
                f"got {type(encode).__name__}, {type(decode).__name__}, {stride} and {value_range}"
            )
        owners = _modules(encode, decode, *(modules if isinstance(modules, tuple) else (modules,)))
        if not version and not owners.state_dict():
            raise InputError(
                "these callables have no weights for a fingerprint; give the modules that they use as modules=, "
                "or a string of your choice as version="
            )
        self._low, self._range, self.stride = low, high - low, stride
        self._functions = (encode, decode)
        self._reached = _tensors(owners) <= _tensors(_modules(encode, decode))
        channels, *size = image_shape
        grey = torch.full((1, channels, *(n or -(-_PROBE // stride) * stride for n in size)), 0.5)
        grey = grey.to(next(owners.parameters(), torch.zeros(())))
        latents = _encoded(encode, padded(low + (high - low) * grey, stride))
        any_size = None in size and latents.ndim > 2
        latent_shape = (latents.shape[1], *(None if any_size else n for n in latents.shape[2:]))
        super().__init__(owners, image_shape, latent_shape, f"{version} range {low} {high} stride {stride}")
        _check_decoded(decode, latents, grey.shape)

    def __deepcopy__(self, memo: dict[int, Any]) -> CallableAutoencoder:
        other = memo[id(self)] = self.__class__.__new__(self.__class__)
        other.__dict__ = copy.deepcopy(self.__dict__, memo)
        same = [
            _innermost(one) is _innermost(twin) for one, twin in zip(self._functions, other._functions, strict=True)
        ]
        other._left_behind = any(same) and not self._reached
        return other

    def _apply(self, *how: Any, **more: Any) -> CallableAutoencoder:
        before = self.weights_dtype, self.device
        super()._apply(*how, **more)
        if self._left_behind and before != (self.weights_dtype, self.device):
            raise InputError(
                "the functions of this copied autoencoder would still use the modules of the original; give methods "
                "of modules (encode=network.encode), or move the original before copying"
            )
        return self

    def _encoded(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        mean, std = _pair(self._functions[0](self._low + self._range * images))
        return mean, None if std is None else 2 * std.log()

    def _decoded(self, latents: torch.Tensor) -> torch.Tensor:
        return (self._functions[1](latents) - self._low) / self._range


@torch.no_grad()
def _encoded(encode: Callable[[torch.Tensor], Any], image: torch.Tensor) -> torch.Tensor:
    latents = _pair(encode(image))[0]
    if latents.ndim < 2 or len(latents) != 1:
        raise ShapeError(f"encode returned {tuple(latents.shape)} for one image; expected raw latents (1, ...)")
    return latents


@torch.no_grad()
def _check_decoded(
    decode: Callable[[torch.Tensor], torch.Tensor], latents: torch.Tensor, shape: tuple[int, ...]
) -> None:
    got = tuple(decode(latents).shape)
    if got[:2] != shape[:2] or any(a < b for a, b in zip(got[2:], shape[2:], strict=True)):
        raise ShapeError(
            f"decode returned {got} for the latent of an image {tuple(shape)}; expected an image of at least this size "
            "with the same number of channels"
        )


def _pair(output: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    if isinstance(output, torch.Tensor):
        return output, None
    if isinstance(output, tuple) and len(output) == 2:
        return output
    raise InputError(f"encode must return latents, or a pair of latents and std; got {type(output).__name__}")


def _innermost(function: Any) -> Any:
    return _innermost(function.func) if isinstance(function, functools.partial) else function


def _tensors(modules: nn.Module) -> set[int]:
    """Return the ids of the weights and buffers."""
    return {id(tensor) for tensor in modules.state_dict(keep_vars=True).values()}


def _modules(*parts: Any) -> nn.ModuleList:
    """Return the modules in `parts`, and those whose methods are in `parts`, each once."""
    parts = tuple(map(_innermost, parts))
    owners = [part if isinstance(part, nn.Module) else getattr(part, "__self__", None) for part in parts]
    return nn.ModuleList(dict.fromkeys(owner for owner in owners if isinstance(owner, nn.Module)))
