"""The values of black and white in a data argument: ``FILE#value_range=LOW,HIGH``.

They are part of the string and not a separate option, so that they are also in the records of runs and shards, and
available to workers that read the file again. ``#`` starts the options of a file, as in ``h5:FILE#X,Y``; within a word,
shells do not change it.
"""

from __future__ import annotations

from ...exceptions import InputError


def split_value_range(text: str) -> tuple[str, tuple[float, float] | None]:
    """Split a data argument into the argument without its value range, and (low, high) or None.

    >>> split_value_range("scans.npz#value_range=-1000,3000")
    ('scans.npz', (-1000.0, 3000.0))
    """
    rest, sign, numbers = text.partition("#value_range=")
    if not sign:
        return text, None
    try:
        low, high = map(float, numbers.split(","))
    except ValueError as error:
        raise InputError(f"got {text!r}; expected two numbers, such as {rest}#value_range=0,4095") from error
    return rest, (low, high)
