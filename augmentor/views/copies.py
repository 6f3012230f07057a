"""HTML page that shows generated images next to the nearest real images."""

from __future__ import annotations

from typing import Any

import torch

from .._internal.checks import to_uint8
from .._internal.datasets import fetch
from .._internal.pictures import figure_png, grid
from .._internal.random import torch_generator
from ..latents import SAME
from ..quality.copies import Copies
from ..quality.features import Images
from .pages import page

_COLUMNS, _GAP = 4, 12


def copies_html(copies: Copies, generated: Images, real: Images, *, title: str, count: int = 24, seed: int = 0) -> str:
    """Return an HTML page with the scores, the `count` images nearest to a real image and `count` random images.

    generated, real: the compared images.

    >>> from augmentor.quality import find_copies
    >>> real = torch.rand(60, 1, 8, 8)
    >>> found = find_copies(real[:20], real, torch.nn.Flatten())
    >>> copies_html(found, real[:20], real, title="Copies")[:15]
    '<!doctype html>'
    """
    order = copies.distance[:, 0].argsort(stable=True)
    some = torch.randperm(len(order), generator=torch_generator("cpu", seed, "copies"))[:count]
    some = some[copies.distance[some, 0].argsort(stable=True)]
    pictures = {
        heading: _drawn(copies, generated, real, rows)
        for heading, rows in (("Nearest to real images", order[:count]), ("Random images", some))
    }
    return page("copies.html", title=title, summary=copies.summary(), pictures=pictures)


def _drawn(copies: Copies, generated: Images, real: Images, rows: torch.Tensor) -> bytes:
    """Draw a PNG with one strip per generated image."""
    from matplotlib.figure import Figure  # 0.5 s to import, needed only here

    mine, others = _images(generated, rows), _images(real, copies.rows[rows].flatten()).split(copies.rows.shape[1])
    lines = -(-len(rows) // _COLUMNS)
    height = 0.85 * lines
    figure = Figure(figsize=(2.7 * _COLUMNS, height), dpi=100)
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.02, top=1 - 0.2 / height, wspace=0.1, hspace=0.5)
    for place, (row, image, near) in enumerate(zip(rows.tolist(), mine, others, strict=True)):
        axis = figure.add_subplot(lines, _COLUMNS, place + 1)
        axis.axis("off")
        distance = float(copies.distance[row, 0])
        title = f"{distance:.3f}, {float(copies.novelty[row]):.1%}{', exact' if distance < SAME else ''}"
        axis.set_title(title, fontsize=8, family="monospace", pad=2)
        strip = grid([torch.cat([to_uint8(image[None]), to_uint8(near)])])
        first = strip.shape[2] // (1 + len(near))
        gap = strip.new_full((3, strip.shape[1], _GAP), 255)
        axis.imshow(torch.cat([strip[..., :first], gap, strip[..., first:]], 2).permute(1, 2, 0).numpy())
    return figure_png(figure)


def _images(source: Any, rows: torch.Tensor) -> torch.Tensor:
    return source[rows] if isinstance(source, torch.Tensor) else fetch(source, rows.tolist())[0]
