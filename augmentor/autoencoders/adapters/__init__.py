"""Autoencoders of others behind our contract, one file each: diffusers, pythae, and any pair of callables.

Importing this imports none of those libraries. docs/bring-your-own.md shows each of them.
"""

from ._base import AdaptedAutoencoder, adapters
from .callables import CallableAutoencoder
from .diffusers import DiffusersAutoencoder
from .pythae import PythaeAutoencoder

__all__ = ["AdaptedAutoencoder", "CallableAutoencoder", "DiffusersAutoencoder", "PythaeAutoencoder", "adapters"]
