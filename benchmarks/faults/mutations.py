"""Ways to damage a file: at random, in fields, and with a recomputed checksum.

HDF5 protects its metadata by checksums, so random damage is mostly detected. `Sealed` changes a field of a header and
recomputes its checksum, as an attacker would.
"""

from __future__ import annotations

import json
import random
import re
import struct
from collections.abc import Callable

Mutation = Callable[[random.Random, bytes], bytes]

INTERESTING = (0, 1, 2, 7, 8, 64, 127, 128, 255, 256, 4096, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**48, 2**63 - 1,
               2**63, 2**64 - 8, 2**64 - 1)  # fmt: skip


def flip_bits(draw: random.Random, data: bytes) -> bytes:
    """Flip up to eight bits."""
    result = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8))):
        result[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(result)


def fill_range(draw: random.Random, data: bytes) -> bytes:
    """Fill a range with zeros, ones or noise."""
    start, length = draw.randrange(len(data)), draw.choice((1, 4, 16, 512, 4096))
    length = min(length, len(data) - start)
    filling = draw.choice((b"\0" * length, b"\xff" * length, draw.randbytes(length)))
    return data[:start] + filling + data[start + length :]


def truncate(draw: random.Random, data: bytes) -> bytes:
    """Keep only the beginning."""
    return data[: draw.choice((draw.randrange(len(data)), len(data) - 1, draw.randrange(min(len(data), 300))))]


def extend(draw: random.Random, data: bytes) -> bytes:
    """Append bytes at the end."""
    return data + draw.choice((b"\0", b"\0" * 4096, draw.randbytes(100), data))


def splice(draw: random.Random, data: bytes) -> bytes:
    """Copy a part over or into another place, or cut a part out."""
    length = draw.choice((8, 64, 512, 4096))
    source, place = draw.randrange(len(data)), draw.randrange(len(data))
    part = data[source : source + length]
    skipped = draw.choice((0, len(part)))
    if draw.random() < 0.2:
        part = b""
    return data[:place] + part + data[place + skipped :]


def set_field(draw: random.Random, data: bytes) -> bytes:
    """Write a number that often causes errors in readers, in the first or last 2,000 bytes, where headers are."""
    width = draw.choice((1, 2, 4, 8))
    reach = min(len(data) - width, 2000)
    place = draw.randrange(reach) if draw.random() < 0.5 else len(data) - width - draw.randrange(reach)
    return data[:place] + _number(draw, width, len(data)) + data[place + width :]


def json_number(draw: random.Random, data: bytes) -> bytes:
    """Replace a number, word, bracket or name in a JSON text."""
    found = list(re.finditer(rb'-?\d+|"[^"]*"|[\[\]{}:,]|true|false|null', data))
    match = draw.choice(found)
    words = [str(n).encode() for n in INTERESTING] + [
        b"-1", b"1e999", b"NaN", b"Infinity", b"1.5", b"null", b"true", b'""', b'"x"', b"[]", b"{}", b"[" * 5000,
        b"9" * 5000,         b'"\\ud800"', b'"\\u0000"', b'"../a.h5"', b'"/etc/passwd"', draw.choice(found).group(),
    ]  # fmt: skip
    return data[: match.start()] + draw.choice(words) + data[match.end() :]


BLIND: tuple[Mutation, ...] = (flip_bits, fill_range, truncate, extend, splice, set_field)


class Sealed:
    """Damage to a header of an HDF5 file, with a recomputed checksum."""

    def __init__(self, data: bytes):
        self.ranges = [r for r in (_guarded(data, start) for start in _headers(data)) if r is not None]

    def __call__(self, draw: random.Random, data: bytes) -> bytes:
        result = bytearray(data)
        start, end = draw.choice(self.ranges)
        for _ in range(draw.choice((1, 1, 1, 2, 4))):
            width = draw.choice((1, 1, 2, 4, 8))
            place = draw.randrange(start + 4, max(start + 5, end - width))
            if draw.random() < 0.3:
                result[place] ^= 1 << draw.randrange(8)
            else:
                result[place : place + width] = _number(draw, width, len(data))
        result[end : end + 4] = struct.pack("<I", lookup3(bytes(result[start:end])))
        return bytes(result[: max(len(data), end + 4)])


def weights_header(draw: random.Random, data: bytes) -> bytes:
    """Change the JSON in the header of a safetensors file, with the new length of the header."""
    length = int.from_bytes(data[:8], "little")
    header = json_number(draw, data[8 : 8 + length])
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def weights_config(draw: random.Random, data: bytes) -> bytes:
    """Change a value in the text from which the network is built, with a recomputed checksum."""
    from safetensors.torch import load, save

    from augmentor._internal.weights import _KEY, _checksum

    length = int.from_bytes(data[:8], "little")
    header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_KEY])
    config = header["config"]
    name = draw.choice(sorted(config))
    odd = [*INTERESTING, -1, 1.5, None, True, "", "x", [], {}, [1], [2**40] * 3, [1, 8, 8], "gaussian(std=1e9)", 10**30]
    if isinstance(config[name], list) and config[name] and draw.random() < 0.5:
        config[name][draw.randrange(len(config[name]))] = draw.choice(odd)
    elif draw.random() < 0.1:
        header[draw.choice(("name", "family", "info", "format"))] = draw.choice(odd)
    else:
        config[name] = draw.choice(odd)
    state = load(data)
    header["sha256"] = _checksum(header, state)
    return save(state, {_KEY: json.dumps(header, sort_keys=True)})


def lookup3(data: bytes) -> int:
    """Return the checksum of HDF5's metadata: Bob Jenkins' hash lookup3 (2006) with initial value 0."""
    mask = 0xFFFFFFFF
    a = b = c = (0xDEADBEEF + len(data)) & mask

    def turn(value: int, count: int) -> int:
        return (value << count | value >> (32 - count)) & mask

    rest = data
    while len(rest) > 12:
        x, y, z = struct.unpack("<III", rest[:12])
        a, b, c = (a + x) & mask, (b + y) & mask, (c + z) & mask
        a = (a - c & mask) ^ turn(c, 4)
        c = c + b & mask
        b = (b - a & mask) ^ turn(a, 6)
        a = a + c & mask
        c = (c - b & mask) ^ turn(b, 8)
        b = b + a & mask
        a = (a - c & mask) ^ turn(c, 16)
        c = c + b & mask
        b = (b - a & mask) ^ turn(a, 19)
        a = a + c & mask
        c = (c - b & mask) ^ turn(b, 4)
        b = b + a & mask
        rest = rest[12:]
    if not rest:
        return c
    x, y, z = struct.unpack("<III", rest.ljust(12, b"\0"))
    a, b, c = (a + x) & mask, (b + y) & mask, (c + z) & mask
    c = ((c ^ b) - turn(b, 14)) & mask
    a = ((a ^ c) - turn(c, 11)) & mask
    b = ((b ^ a) - turn(a, 25)) & mask
    c = ((c ^ b) - turn(b, 16)) & mask
    a = ((a ^ c) - turn(c, 4)) & mask
    b = ((b ^ a) - turn(a, 14)) & mask
    return ((c ^ b) - turn(b, 24)) & mask


def _number(draw: random.Random, width: int, size: int) -> bytes:
    value = draw.choice((*INTERESTING, size, size - 1, size + 1, size // 2, draw.getrandbits(64)))
    return (value % (1 << 8 * width)).to_bytes(width, "little")


def _headers(data: bytes) -> list[int]:
    """Return where parts with a checksum begin: the superblock, object headers, chunk indices."""
    return [match.start() for match in re.finditer(rb"\x89HDF|OHDR|OCHK|FAHD|FADB|EAHD|EAIB|BTHD|BTLF|FRHP", data)]


def _guarded(data: bytes, start: int) -> tuple[int, int] | None:
    """Return the part that begins at `start`, up to the first position whose next four bytes are its checksum."""
    for end in range(start + 8, min(start + 1500, len(data) - 3)):
        if lookup3(data[start:end]) == int.from_bytes(data[end : end + 4], "little"):
            return start, end
    return None
