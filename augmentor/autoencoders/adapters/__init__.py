"""Adapters, one per file, that make an `Autoencoder` of a diffusers model, a pythae model or a pair of callables.

This package does not import those libraries. docs/bring-your-own.md shows each adapter.
"""

from ._base import AdaptedAutoencoder
from .callables import CallableAutoencoder
from .diffusers import DiffusersAutoencoder
from .pythae import PythaeAutoencoder

# Adapters that can be saved to a weights file.
ADAPTERS = {member.name: member for member in (DiffusersAutoencoder,)}

__all__ = ["ADAPTERS", "AdaptedAutoencoder", "CallableAutoencoder", "DiffusersAutoencoder", "PythaeAutoencoder"]
