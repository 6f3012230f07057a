"""Adapters, one file each, that make an `Autoencoder` of a diffusers model, a pythae model, or a pair of callables.

This imports none of those libraries. docs/bring-your-own.md shows each adapter.
"""

from ._base import AdaptedAutoencoder
from .callables import CallableAutoencoder
from .diffusers import DiffusersAutoencoder
from .pythae import PythaeAutoencoder

# Those that a weights file can hold.
ADAPTERS = {member.name: member for member in (DiffusersAutoencoder,)}

__all__ = ["ADAPTERS", "AdaptedAutoencoder", "CallableAutoencoder", "DiffusersAutoencoder", "PythaeAutoencoder"]
