"""A page that shows generated images beside the real ones nearest to them."""

from __future__ import annotations

import io
from typing import Any

import torch

from .._internal.checks import to_uint8
from .._internal.items import fetch
from .._internal.pictures import grid
from .._internal.random import torch_generator
from ..latents import SAME
from ..quality.copies import Copies
from ..quality.features import Images
from .report import Report

_GAP = 12


def copies_html(copies: Copies, generated: Images, real: Images, *, title: str, count: int = 24, seed: int = 0) -> str:
    """A page of the figures and of the images: the `count` most like copies, and as many at random.

    generated, real: the images that were compared.

    >>> real = torch.rand(60, 1, 8, 8)
    >>> found = find_copies(real[:20], real, torch.nn.Flatten())
    >>> copies_html(found, real[:20], real, title="Copies")[:15]
    '<!doctype html>'
    """
    order = copies.distance[:, 0].argsort(stable=True)
    chance = torch.randperm(len(order), generator=torch_generator("cpu", seed, "copies"))[:count]
    chance = chance[copies.distance[chance, 0].argsort(stable=True)]
    summary = copies.summary()
    report = Report(title)
    report.text(
        "A generated image that lies nearer to a real one than real images lie to each other is a copy rather than a "
        "new image. Exact: how many are the same image to the features. Nearer than all, and than 99 percent: the "
        "shares that are nearer to a real image than any of the real images, and than 99 % of them, are to another. "
        "The last row shows the same of the real images, each compared with all the others."
    )
    report.table(
        {
            name: {column.replace("_", " "): value for column, value in row.items() if column != "floor"}
            for name, row in (("generated", summary), ("real", summary["floor"]))
        }
    )
    explained = (
        "On the left the generated image, then the real ones nearest to it. Above, the distance to the nearest, and "
        "the share of real images that have another real one as near."
    )
    for heading, rows in (("Most like copies", order[:count]), ("At random", chance)):
        report.heading(heading)
        report.pictures((explained, _drawn(copies, generated, real, rows)))
    return report.html()


def _drawn(copies: Copies, generated: Images, real: Images, rows: torch.Tensor, columns: int = 4) -> bytes:
    """PNG: a strip for each generated image."""
    from matplotlib.figure import Figure  # 0.5 s to import, needed only here

    mine, others = _images(generated, rows), _images(real, copies.rows[rows].flatten()).split(copies.rows.shape[1])
    lines = -(-len(rows) // columns)
    height = 0.85 * lines
    figure = Figure(figsize=(2.7 * columns, height), dpi=100)
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.02, top=1 - 0.2 / height, wspace=0.1, hspace=0.5)
    for place, (row, image, near) in enumerate(zip(rows.tolist(), mine, others, strict=True)):
        axis = figure.add_subplot(lines, columns, place + 1)
        axis.axis("off")
        exact = ", the same" if float(copies.distance[row, 0]) < SAME else ""
        title = f"{float(copies.distance[row, 0]):.3f}, {float(copies.novelty[row]):.1%}{exact}"
        axis.set_title(title, fontsize=8, family="monospace", pad=2)
        strip = grid([torch.cat([to_uint8(image[None]), to_uint8(near)])])
        first = strip.shape[2] // (1 + len(near))
        gap = strip.new_full((3, strip.shape[1], _GAP), 255)
        axis.imshow(torch.cat([strip[..., :first], gap, strip[..., first:]], 2).permute(1, 2, 0).numpy())
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _images(source: Any, rows: torch.Tensor) -> torch.Tensor:
    return source[rows] if isinstance(source, torch.Tensor) else fetch(source, rows.tolist())[0]
