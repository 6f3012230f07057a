"""Table and plot of docs/speed.md, drawn from the results of throughput.py and shards.py.

python benchmarks/speed.py
"""

from __future__ import annotations

import json
from typing import Any

from common import HERE, RESULTS, draw_table

PAGE = HERE.parent / "docs" / "speed.md"
NONE = "-"
# What is done: (section, row) of this package, of the bare network, and of a peer with its name.
Row = tuple[str, str]
BATCHES, PEERS, ENCODING = "transform, batches of 256", "other packages", "encoding of a data set"
WORK: dict[str, tuple[Row, Row, str, Row | None]] = {
    "transform a batch, `p=1`": (
        (BATCHES, "LatentAugment, p=1"), (BATCHES, "bare network"), "pythae", (PEERS, "pythae, reconstruct")),
    "transform a batch, `p=0.5`": ((BATCHES, "LatentAugment, p=0.5"), (BATCHES, "bare network"), "", None),
    'transform a batch, `p=1, precision="auto"`': (
        (BATCHES, "LatentAugment, p=1, precision='auto'"), (BATCHES, "bare network"), "", None),
    "transform one image": ((BATCHES, "LatentAugment, p=1, 1"), (BATCHES, "bare network, 1"), "", None),
    "decode from a cache": (
        (BATCHES, "synthesize from a cache"), (BATCHES, "bare decoder"), "pythae",
        (PEERS, "pythae's sampler, in memory")),
    'decode from a cache, `precision="auto"`': (
        (BATCHES, "synthesize from a cache, precision='auto'"), (BATCHES, "bare decoder"), "", None),
    'write files, from a cache, `precision="auto"`': (
        (PEERS, "ours, to shards"), (BATCHES, "bare decoder"), "pythae (PNG)",
        (PEERS, "pythae's sampler, to PNG files")),
    "fit on a data set": ((ENCODING, "fit"), (ENCODING, "bare encoder"), "", None),
}  # fmt: skip
PIXELS = {
    "kornia, a batch": "kornia, a batch at a time",
    "albumentations, one image": "albumentations, an image at a time",
    "torchvision v2, one image": "torchvision, an image at a time",
}
READERS = {"h5py": "h5py, batches", "webdataset": "webdataset, sequential", "ImageFolder": "ImageFolder, sequential"}


def load(name: str) -> dict[str, Any]:
    """Return the rows of a result."""
    return json.loads((RESULTS / f"{name}.json").read_text())["rows"]


def rate(rows: dict[str, Any], row: Row) -> float:
    """Return images per second."""
    return rows[row[0]][row[1]]["images per second"]


def table(rows: dict[str, Any], reading: dict[str, float]) -> list[str]:
    """Return the lines of the table: images per second."""
    lines = ["| what | this package | bare network | peer |", "|---|---|---|---|"]
    for what, (ours, bare, peer, theirs) in WORK.items():
        peer_text = NONE if theirs is None else f"{peer} {rate(rows, theirs):,.0f}"
        lines.append(f"| {what} | {rate(rows, ours):,.0f} | {rate(rows, bare):,.0f} | {peer_text} |")
    pixels = ", ".join(f"{name} {rate(rows, (PEERS, row)):,.0f}" for name, row in PIXELS.items())
    lines.append(f"| geometry, colour and erasing of pixels | {NONE} | {NONE} | {pixels} |")
    readers = ", ".join(f"{name} {reading[row]:,.0f}" for name, row in READERS.items())
    copy = f"{reading['copy of memory, batches']:,.0f} (copy of memory)"
    lines.append(f"| read batches of shards in order | {reading['shards, batches']:,.0f} | {copy} | {readers} |")
    return lines


def draw(rows: dict[str, Any]) -> None:
    """Draw the time per image of each option, and of other packages."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    bars = {what.replace("`", ""): rate(rows, ours) for what, (ours, *_) in WORK.items()}
    others = {
        "bare network": rate(rows, (BATCHES, "bare network")),
        **{name: rate(rows, (PEERS, row)) for name, row in PIXELS.items()},
    }
    shown = dict(sorted({**bars, **others}.items(), key=lambda item: item[1]))
    figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
    colours = ["tab:gray" if name in others else "tab:blue" for name in shown]
    drawn = axes.barh(list(shown), [1e6 / value for value in shown.values()], color=colours)
    axes.bar_label(drawn, fmt="%.0f", padding=3, fontsize=8)
    axes.set(xscale="log", xlabel="microseconds per image of 32x32 pixels, one CPU thread")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    figure.savefig(PAGE.with_suffix(".png"), dpi=100)


def main() -> None:
    rows = load("throughput")
    lines = table(rows, load("shards")["32x32x3"]["read"]["images per second"])
    print("\n".join(lines))
    draw_table("speed", lines, PAGE)
    draw(rows)


if __name__ == "__main__":
    main()
