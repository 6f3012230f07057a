"""The document `policy.json`, an augmentation: `augmentor tune` writes it, `LatentAugment.from_config` reads it.

    {"format": 1, "autoencoder": "mnist", "autoencoder_sha256": "...", "policy": "gaussian(std=0.5)", "p": 0.5,
     "residual": 0.0, "gate": {"keep": 0.95, "k": 3, "redraws": 3, "action": "redraw"},
     "mixing": {"ratio": 1.0, "balance": 0.5}}

autoencoder is a pretrained name, or the path of a weights file, relative to the folder of the JSON; null for an
object, which then has to be given again. ``"statistics": {"mean": [...], "std": [...]}`` are latent statistics that
were fitted, where the weights brought none. Only autoencoder and policy have to be there. Further entries, such as how
the answer was found, are kept for people and ignored.
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
    """The document. `autoencoder` is None for an object that has no name; `statistics` are mean and std, if any.

    gate, mixing: the objects that those entries describe, a `QualityGate` and a `Mixing`, or None.
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
        """From a file or a dict; `InputError` for anything that is no such document.

        parts: the classes of the entries "gate" and "mixing".
        """
        document = source if isinstance(source, dict) else _load(absolute_path(source))
        try:
            if document.get("format", FORMAT) != FORMAT:
                raise InputError(f"it has format {document['format']!r}; this version reads format {FORMAT}")
            fields = {name: document[name] for name in _TYPES if document.get(name) is not None}
            for name, value in fields.items():
                if not isinstance(value, _TYPES[name]) or isinstance(value, bool):
                    raise InputError(f"{name} is {value!r}")
            if "policy" not in fields:
                raise InputError("it has no policy")
            if "statistics" in fields:
                _check_statistics(fields["statistics"])
            for name, kind in parts.items():
                if name in fields:
                    fields[name] = _made(kind, name, fields[name])
        except InputError as error:
            where = "this dict" if isinstance(source, dict) else str(source)
            raise InputError(f"{where} is no augmentation config: {error}; make one with `augmentor tune`") from error
        name = fields.pop("autoencoder", None)
        if name is not None and not isinstance(source, dict):
            beside = weights_file(absolute_path(source).parent / name, OF_AUTOENCODER)
            name = str(beside) if os.path.isfile(beside) else name
        return cls(name, **fields)

    def check_weights(self, found: str, name: str) -> None:
        """`WeightsError` unless this is the fingerprint of the autoencoder that the document was made with."""
        if self.autoencoder_sha256 not in (None, found):
            raise WeightsError(
                f"autoencoder {name!r} has the fingerprint {found:.12}..., and the policy was chosen for "
                f"{self.autoencoder_sha256:.12}...; give that one, or tune again"
            )

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
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


def _load(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot read {path}: {error}; expected the policy.json of `augmentor tune`") from error
    if not isinstance(document, dict):
        raise InputError(f"{path} holds a {type(document).__name__}; expected the policy.json of `augmentor tune`")
    return document


def _made(kind: Any, name: str, arguments: dict[str, Any]) -> Any:
    known = tuple(inspect.signature(kind).parameters)
    for argument in arguments:
        if argument not in known:
            raise InputError(f"{name} has no {argument!r}{did_you_mean(argument, known)}")
    try:
        return kind(**arguments)
    except TypeError as error:
        raise InputError(f"{name} is {arguments}: {error}") from error


def _check_statistics(values: dict[str, Any]) -> None:
    lists = [values.get(name) for name in ("mean", "std")]
    fits = values.keys() == {"mean", "std"} and all(isinstance(v, list) and all(map(is_number, v)) for v in lists)
    if not fits or not all(number > 0 for number in values["std"]):
        raise InputError(f"statistics is {str(values)[:80]}; expected lists of numbers mean and std, std above 0")
