"""Manifest of a folder of shards: its content and settings, as one JSON document.

    manifest.json               written last, so a folder that has it is complete
    manifest.partial*.jsonl     finished shards during generation (`journal.py`)

The manifest determines what a reader accepts: the files, their lengths, and the shapes and types of their arrays. It is
not trusted: every field is checked before any is used. A file name is `shard-00000.h5` or similar, never a path.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._internal.files import absolute_path, open_regular, write_bytes
from ..exceptions import ShardError

FORMAT = 1
STORES = ("images", "latents")  # possible contents of a shard
FORMATS: dict[str, Any] = {}  # name => `ShardFormat`; `formats/` adds them
MANIFEST = "manifest.json"
PARTIAL = "manifest.partial.jsonl"
PARTIALS = "manifest.partial*.jsonl"  # of several writers
MAX_SHARDS = 100_000  # file names have five digits

_MAX_BYTES = 32 << 20  # 100,000 entries need 20 MB
_MAX_PARTS = 1_000_000  # 100,000 entries have 500,000 commas and braces
_MAX_TEXT = 4096
_FILE = re.compile(r"shard-\d{5}(\.\w+)", re.ASCII)
_PRECISION = re.compile(r"(fp32|bf16)(\+channels_last)?(\+compile)?", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")


def compressions() -> tuple[str, ...]:
    """Return the names of the compressions of all formats."""
    return tuple(dict.fromkeys(name for kind in FORMATS.values() for name in kind.compressions))


# Whether a value is valid for a field, and a description of valid values.
_Check = tuple[Callable[[Any], bool], str]


def _integer(least: int) -> _Check:
    # bool is rejected
    return lambda value: type(value) is int and least <= value < 2**63, f"an integer from {least} to 2**63 - 1"


def _integers(least: int, most: int, words: str) -> _Check:
    fits, _ = _integer(1)
    return lambda value: isinstance(value, tuple) and least <= len(value) <= most and all(map(fits, value)), words


def _matching(pattern: re.Pattern[str], words: str) -> _Check:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None, words


def _one_of(*known: str) -> _Check:
    return lambda value: isinstance(value, str) and value in known, " or ".join(map(repr, known))


def _or_none(check: _Check) -> _Check:
    return lambda value: value is None or check[0](value), check[1]


def _is_file_name(value: Any) -> bool:
    name = _FILE.fullmatch(value) if isinstance(value, str) else None
    return name is not None and name[1] in [kind.suffix for kind in FORMATS.values()]


def _are_names(value: Any) -> bool:
    fits = isinstance(value, tuple) and len(value) > 0
    return fits and all(isinstance(name, str) and len(name) <= _MAX_TEXT and is_unicode(name) for name in value)


_text: _Check = (
    lambda value: isinstance(value, str) and 0 < len(value) <= _MAX_TEXT and value.isprintable(),
    f"printable text of at most {_MAX_TEXT} characters",
)
_sha256 = _matching(_SHA256, "64 hexadecimal digits")

_ENTRY: dict[str, _Check] = {
    "file": (_is_file_name, "a name such as shard-00000.h5"),
    "count": _integer(1),
    "bytes": _integer(1),
    "sha256": _sha256,
}
_SETTINGS: dict[str, _Check] = {
    "format": (lambda value: type(value) is int and value == FORMAT, f"{FORMAT}, the only supported version"),
    **{name: _integer(1) for name in ("num_samples", "shard_size", "micro_batch")},
    **{name: _integer(0) for name in ("seed", "epoch")},
    **dict.fromkeys(("policy", "autoencoder", "dataset_fingerprint", "device", "package_version"), _text),
    "autoencoder_sha256": _sha256,
    "fitted_sha256": _or_none(_sha256),
    "gate": _or_none(_text),
    "residual": (lambda value: type(value) is float and 0 <= value <= 1, "a number from 0.0 to 1.0"),
    "precision": _matching(_PRECISION, "'fp32' or 'bf16', optionally with '+channels_last' and '+compile'"),
    "labels": _one_of("int64", "soft"),
    "compression": (
        lambda value: isinstance(value, str) and value in compressions(),
        "a compression of a shard format",
    ),
    "files": (lambda value: isinstance(value, str) and value in FORMATS, "the name of a shard format"),
    "store": _one_of(*STORES),
    "image_shape": _integers(3, 3, "three integers C, H, W"),
    "latent_shape": _or_none(_integers(1, 3, "one to three integers")),
    "models": (lambda value: value == () or _are_names(value), "a list of strings"),
    "class_names": (_are_names, f"names, Unicode strings of at most {_MAX_TEXT} characters"),
}


@dataclass(frozen=True)
class ShardEntry:
    """Entry of a file of the folder: its name, number of samples, SHA-256 and number of bytes."""

    file: str
    count: int
    sha256: str
    bytes: int

    def __post_init__(self) -> None:
        _check(self, _ENTRY)

    def fields(self) -> dict[str, Any]:
        """Return the entry as a JSON object."""
        return {"file": self.file, "count": self.count, "sha256": self.sha256, "bytes": self.bytes}

    @property
    def unit(self) -> int:
        """Number of the shard."""
        return int(self.file[6:11])


@dataclass(frozen=True)
class Manifest:
    """Manifest of a folder. All fields except `shards` are settings; equal settings give equal bytes.

    labels: "int64" for class numbers (n,), "soft" for float32 (n,K), where K is the number of `class_names`.
    store: "images", or "latents" for raw latents float32 (n,*L) that a reader decodes to images of `image_shape`.
    latent_shape: L for latents; None for images. files: name of a shard format, such as "hdf5".
    fitted_sha256: SHA-256 of latents encoded beforehand (the reference set of the policy or the gate, and a cache) and
        of the weights of the policy's networks, or None.
    residual: fraction of the reconstruction error that was added, 0 to 1; 0 for latents.
    models: third-party models of the policy, one line per model: source, revision, licence.
    gate: settings of the quality gate and the data that it scores, as a string, or None.
    device: type of the device that decoded ("cpu", "cuda"); results of devices differ in the last bit.
    precision: precision and memory layout of the network, the string of an `InferencePlan`.
    shards: finished files, in order; the manifest is `complete` if none is missing.

    Raises `ShardError` for a value of the wrong type or out of range.
    """

    num_samples: int
    shard_size: int
    seed: int
    epoch: int
    policy: str
    autoencoder: str
    autoencoder_sha256: str
    dataset_fingerprint: str
    fitted_sha256: str | None
    micro_batch: int
    device: str
    precision: str
    image_shape: tuple[int, int, int]
    labels: str
    class_names: tuple[str, ...]
    compression: str
    package_version: str
    store: str = "images"
    latent_shape: tuple[int, ...] | None = None
    files: str = "hdf5"
    residual: float = 0.0
    gate: str | None = None
    models: tuple[str, ...] = ()
    format: int = FORMAT
    shards: tuple[ShardEntry, ...] = ()

    def __post_init__(self) -> None:
        _check(self, _SETTINGS)
        if self.store == "latents" and self.residual:
            raise _misfit("residual", self.residual, "0.0, because the shards hold latents")
        if (self.latent_shape is None) != (self.store == "images"):
            expected = "null, because the shards hold images" if self.store == "images" else "one to three integers"
            raise _misfit("latent_shape", self.latent_shape, expected)
        self._check_shards()

    @property
    def num_shards(self) -> int:
        """Number of files of the complete folder."""
        return -(-self.num_samples // self.shard_size)

    @property
    def complete(self) -> bool:
        """Whether no file is missing."""
        return len(self.shards) == self.num_shards

    def samples(self, unit: int) -> range:
        """Return the indices in the whole folder of the synthetic samples in shard `unit`."""
        return range(unit * self.shard_size, min((unit + 1) * self.shard_size, self.num_samples))

    def missing(self) -> list[int]:
        """Return the numbers of the missing shards."""
        done = {entry.file for entry in self.shards}
        return [unit for unit in range(self.num_shards) if self.file_name(unit) not in done]

    @property
    def form(self) -> Any:
        """Shard format of the files."""
        return FORMATS[self.files]()

    def file_name(self, unit: int) -> str:
        """Return the file name of a shard."""
        return f"shard-{unit:05d}{self.form.suffix}"

    def settings(self) -> dict[str, Any]:
        """Return all fields except `shards` as a JSON object."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del fields["shards"]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}

    def with_shards(self, *entries: ShardEntry) -> Manifest:
        """Return the same settings with exactly these files, sorted."""
        return dataclasses.replace(self, shards=tuple(sorted(entries, key=lambda entry: entry.file)))

    def write(self, path: str | Path) -> None:
        """Write the manifest atomically. Raises `OutputError` if this fails."""
        text = json.dumps(self.document(), indent=2, ensure_ascii=False)
        write_bytes(absolute_path(path), (text + "\n").encode(), shared=True)

    def document(self) -> dict[str, Any]:
        """Return all fields as a JSON object."""
        return {**self.settings(), "shards": [entry.fields() for entry in self.shards]}

    def planned(self, entry: ShardEntry) -> ShardEntry:
        """Return the entry if it matches a shard of these settings. Raises `ShardError` otherwise."""
        if entry.file != self.file_name(entry.unit):
            raise _misfit("file", entry.file, f"a name such as {self.file_name(0)}")
        count = len(self.samples(entry.unit))
        if entry.count != count:
            raise _misfit(f"count of {entry.file}", entry.count, str(count))
        return entry

    def _check_shards(self) -> None:
        if self.num_shards > MAX_SHARDS:
            raise _misfit("shard_size", self.shard_size, f"a value for at most {MAX_SHARDS} shards")
        if not isinstance(self.shards, tuple):
            raise _misfit("shards", self.shards, "a list of files")
        names = [entry.file for entry in self.shards]
        if names != sorted(set(names)):
            raise _misfit("shards", names, "each file once, in order")
        for entry in self.shards:
            self.planned(entry)


def parse_manifest(text: str | bytes) -> Manifest:
    """Parse a manifest from a JSON text. Raises `ShardError` if it is invalid.

    >>> parse_manifest('{"format": 2}')
    Traceback (most recent call last):
    augmentor.exceptions.ShardError: manifest field 'format' is 2; expected 1, the only supported version
    """
    value = _parsed(text)
    if isinstance(value, dict):
        _check_value("format", value.get("format"), _SETTINGS["format"])  # first: other versions have other fields
    fields = _fields_of(Manifest, value, "the manifest")
    if not isinstance(fields["shards"], list):
        raise _misfit("shards", fields["shards"], "a list of files")
    entries = [ShardEntry(**_fields_of(ShardEntry, entry, "an entry of shards")) for entry in fields["shards"]]
    for name in ("image_shape", "latent_shape", "class_names", "models"):
        fields[name] = tuple(fields[name]) if isinstance(fields[name], list) else fields[name]
    return Manifest(**{**fields, "shards": tuple(entries)})


def parse_entry(text: str | bytes) -> ShardEntry:
    """Parse one entry of `shards` from a JSON text. Raises `ShardError` if it is invalid."""
    return ShardEntry(**_fields_of(ShardEntry, _parsed(text), "an entry of shards"))


def read_manifest(path: str | Path) -> Manifest:
    """Read a manifest from a file. Raises `ShardError` if it is damaged, not a manifest, or too long."""
    path = absolute_path(path)
    text = read_text(path)
    try:
        return parse_manifest(text)
    except ShardError as error:
        raise ShardError(f"{path}: {error}; it is damaged or invalid: copy or generate the folder again") from error


def read_text(path: str | Path) -> bytes:
    """Read a file that may be as long as a manifest. Raises `ShardError` if it is longer or cannot be read."""
    try:
        with open_regular(path) as file:
            text = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ShardError(f"cannot read {path}: {error.strerror}") from error
    if len(text) > _MAX_BYTES:
        raise ShardError(f"{path} is longer than {_MAX_BYTES} bytes; expected the manifest of a shard folder")
    return text


def differences(there: Manifest, asked: Manifest) -> str:
    """Return a string of the settings in which two manifests differ, empty if there are none.

    It has names and both values: ``"seed: 0 stored, 1 given"``.
    """
    before, after = there.settings(), asked.settings()
    return ", ".join(
        f"{name}: {_short(before[name])} stored, {_short(after[name])} given"
        for name in after
        if before[name] != after[name]
    )


def is_unicode(text: str) -> bool:
    """Return whether a string can be encoded as UTF-8, unlike some file names."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parsed(text: str | bytes) -> Any:
    """Parse a JSON text without duplicate names, without NaN, and with a limited number of parts."""
    try:
        data = text.encode() if isinstance(text, str) else text
        if sum(map(data.count, (b"[", b"{", b","))) > _MAX_PARTS:
            raise ValueError(f"it has more than {_MAX_PARTS} parts")
        return json.loads(data, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ShardError(f"the manifest is not JSON: {error}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):  # parsers differ in which of the two they use
        raise ValueError("an object has a duplicate name")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not valid JSON")


def _fields_of(kind: type, value: Any, what: str) -> dict[str, Any]:
    """Return a JSON object that has exactly the fields of a dataclass."""
    if not isinstance(value, dict):
        raise ShardError(f"{what} is a {type(value).__name__}; expected an object")
    names = {field.name for field in dataclasses.fields(kind)}
    if odd := sorted(names ^ set(value)):
        has = "has an unknown" if odd[0] in value else "lacks the"
        raise ShardError(f"{what} {has} field {odd[0]!r:.80}; expected {', '.join(sorted(names))}")
    return dict(value)


def _check(document: Manifest | ShardEntry, checks: dict[str, _Check]) -> None:
    for name, check in checks.items():
        _check_value(name, getattr(document, name), check)


def _check_value(name: str, value: Any, check: _Check) -> None:
    fits, expected = check
    if not fits(value):
        raise _misfit(name, value, expected)


def _misfit(name: str, value: Any, expected: str) -> ShardError:
    return ShardError(f"manifest field {name!r} is {_short(value)}; expected {expected}")


def _short(value: Any) -> str:
    text = repr(value[:80] if isinstance(value, (str, list, tuple)) else value)
    return text if len(text) <= 80 else f"{text[:77]}..."
