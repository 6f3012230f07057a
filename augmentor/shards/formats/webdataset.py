"""WebDataset shard format: plain tar files, for streaming readers.

    000000004096.png     the image, lossless
    000000004096.cls     its class number; absent for soft labels
    000000004096.json    {"copy": 1, "source_index": [17]}, plus "label": [0.25, 0.75] for soft labels

The number is the index of the synthetic sample in the whole folder. The tar file contains no times, users or
permissions of this machine, so equal content gives equal bytes (for one version of Pillow's zlib).

https://github.com/webdataset/webdataset: ``wds.WebDataset(urls).decode("torchrgb8")``.
"""

from __future__ import annotations

import io
import json
import tarfile

import numpy as np
from PIL import Image

from ...exceptions import ShapeError
from ..manifest import Manifest
from ._base import ShardFormat, register_format


@register_format("webdataset")
class WebDataset(ShardFormat):
    """Shard format of tar files of PNG images."""

    suffix = ".tar"
    stores = ("images",)

    def check_planned(self, manifest: Manifest) -> None:
        """Raise `ShapeError` unless images have 1 or 3 channels: PNG would store the last of 2 or 4 as alpha."""
        if manifest.image_shape[0] not in (1, 3):
            raise ShapeError(
                f"format='webdataset' stores grey and RGB images, got {manifest.image_shape}; use format='hdf5'"
            )

    def encode(self, arrays: dict[str, np.ndarray], settings: Manifest, unit: int) -> bytes:
        """Return the bytes of a tar file."""
        return encode_tar(arrays, first=unit * settings.shard_size)


def encode_tar(arrays: dict[str, np.ndarray], first: int) -> bytes:
    """Return the bytes of a shard, for `augmentor._internal.files.write_bytes`.

    arrays: `images` uint8 (n,C,H,W) with C 1 or 3, `labels` int64 (n,) or float32 (n,K), `source_index` int64 (n,m),
    `copy` int32 (n,). first: the number of the first sample.

    >>> n = np.arange(2)
    >>> arrays = {"labels": n, "source_index": n[:, None], "copy": n}
    >>> data = encode_tar({"images": np.zeros((2, 1, 8, 8), np.uint8), **arrays}, first=40)
    >>> tarfile.open(fileobj=io.BytesIO(data)).getnames()[:3]
    ['000000000040.png', '000000000040.cls', '000000000040.json']
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for row, (image, label) in enumerate(zip(arrays["images"], arrays["labels"], strict=True)):
            about = {"copy": int(arrays["copy"][row]), "source_index": arrays["source_index"][row].tolist()}
            parts = {"png": _png(image)}
            if label.ndim == 0:
                parts["cls"] = str(label).encode()
            else:
                about["label"] = label.tolist()
            parts["json"] = json.dumps(about, sort_keys=True).encode()
            for suffix, data in parts.items():
                member = tarfile.TarInfo(f"{first + row:012d}.{suffix}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG")
    return buffer.getvalue()
