"""The file `policy.json`, which describes an augmentation: written by `augmentor tune`, read by `from_config`.

    {"format": 1, "autoencoder": "mnist", "autoencoder_sha256": "...", "policy": "gaussian(std=0.5)", "p": 0.5,
     "residual": 0.0, "gate": {"keep": 0.95, "k": 3, "redraws": 3, "action": "redraw"},
     "mixing": {"ratio": 1.0, "balance": 0.5}}

"autoencoder" is a pretrained name, the path of a weights file relative to the folder of the JSON file, or null for an
object, which must then be passed to `LatentAugment.from_config`. ``"statistics": {"mean": [...], "std": [...]}`` are
fitted latent statistics, if the weights contain none. Only "autoencoder" and "policy" are required. Other entries, such
as the results of a search, are ignored.
"""

from __future__ import annotations

import inspect
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..exceptions import InputError, WeightsError
from .checks import is_number
from .files import absolute_path
from .registry import arguments_of, did_you_mean
from .weights import OF_AUTOENCODER, weights_file

FORMAT = 1


@dataclass(frozen=True)
class AugmentConfig:
    """Content of `policy.json`. autoencoder: None for an object without a name. statistics: mean and std, or None.

    gate, mixing: the objects that these entries describe, a `QualityGate` and a `Mixing`, or None.
    """

    autoencoder: str | None
    policy: str
    p: float = 0.5
    autoencoder_sha256: str | None = None
    residual: float = 0.0
    gate: Any = None
    mixing: Any = None
    statistics: dict[str, list[float]] | None = None

    @classmethod
    def read(cls, source: str | Path | dict[str, Any], parts: dict[str, type]) -> AugmentConfig:
        """Read a file or a dict; raise `InputError` if it is invalid.

        parts: classes of the entries "gate" and "mixing".
        """
        document = source if isinstance(source, dict) else _load(absolute_path(source))
        try:
            if document.get("format", FORMAT) != FORMAT:
                raise InputError(f"it has format {document['format']!r}; this version reads format {FORMAT}")
            fields = {name: document[name] for name in _TYPES if document.get(name) is not None}
            for name, value in fields.items():
                if not isinstance(value, _TYPES[name]) or isinstance(value, bool):
                    raise InputError(f"{name} is {value!r}; expected {_EXPECTED[_TYPES[name]]}")
            if "policy" not in fields:
                raise InputError("it has no policy")
            if "statistics" in fields:
                _check_statistics(fields["statistics"])
            for name, kind in parts.items():
                if name in fields:
                    fields[name] = _made(kind, name, fields[name])
        except InputError as error:
            where = "this dict" if isinstance(source, dict) else str(source)
            raise InputError(f"{where} is not a valid config: {error}; make one with `augmentor tune`") from error
        name = fields.pop("autoencoder", None)
        if name is not None and not isinstance(source, dict):
            beside = weights_file(absolute_path(source).parent / name, OF_AUTOENCODER)
            name = str(beside) if os.path.isfile(beside) else name
        return cls(name, **fields)

    def check_weights(self, found: str, name: str) -> None:
        """Raise `WeightsError` unless `found` is the fingerprint of the autoencoder of the document."""
        if self.autoencoder_sha256 not in (None, found):
            raise WeightsError(
                f"autoencoder {name!r} has the fingerprint {found:.12}..., but the policy was chosen for "
                f"{self.autoencoder_sha256:.12}...; use that autoencoder, or tune again"
            )

    def document(self) -> dict[str, Any]:
        """Return the document as plain JSON values."""
        return {
            "format": FORMAT,
            "autoencoder": self.autoencoder,
            "autoencoder_sha256": self.autoencoder_sha256,
            "policy": self.policy,
            "p": self.p,
            "residual": self.residual,
            "gate": None if self.gate is None else arguments_of(self.gate),
            "mixing": None if self.mixing is None else arguments_of(self.mixing),
            "statistics": self.statistics,
        }


_TYPES: dict[str, Any] = {
    "autoencoder": str, "policy": str, "p": (int, float), "autoencoder_sha256": str,
    "residual": (int, float), "gate": dict, "mixing": dict, "statistics": dict,
}  # fmt: skip
_EXPECTED: dict[Any, str] = {str: "a string", (int, float): "a number", dict: "a dict"}


def _load(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot read {path}: {error}; expected a policy.json of `augmentor tune`") from error
    if not isinstance(document, dict):
        raise InputError(f"{path} contains a {type(document).__name__}; expected a policy.json of `augmentor tune`")
    return document


def _made(kind: Any, name: str, arguments: dict[str, Any]) -> Any:
    known = tuple(inspect.signature(kind).parameters)
    for argument in arguments:
        if argument not in known:
            raise InputError(f"{name} has no argument {argument!r}{did_you_mean(argument, known)}")
    try:
        return kind(**arguments)
    except TypeError as error:
        raise InputError(f"{name} is {arguments}: {error}") from error


def _check_statistics(values: dict[str, Any]) -> None:
    lists = [values.get(name) for name in ("mean", "std")]
    fits = values.keys() == {"mean", "std"} and all(isinstance(v, list) and all(map(is_number, v)) for v in lists)
    if not fits or not all(number > 0 for number in values["std"]):
        raise InputError(f"statistics is {str(values)[:80]}; expected lists of numbers mean and std, with std above 0")
