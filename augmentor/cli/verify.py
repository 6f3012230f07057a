"""``augmentor verify SHARDS``"""

from __future__ import annotations

from pathlib import Path

import click

from ._options import FilePath, command_line, common
from ._output import finish, say, tell


@click.command()
@click.argument("shards", type=FilePath())
@common(None, "File to which the result is also written as JSON. Default: none.", folder=False)
def verify(shards: str, seed: int, device: str, out: str | None) -> None:
    """Check all files of the folder SHARDS against the checksums and descriptions of its manifest.

    Exit with 0 if all files are intact, else with 2 and the names of the damaged files.
    """
    from .._internal.files import write_json
    from .._internal.progress import progress_bar
    from ..exceptions import ShardError
    from ..shards import complete_manifest, verified

    folder = Path(shards)
    manifest = complete_manifest(folder)
    total = sum(entry.bytes for entry in manifest.shards)
    say(shards=folder, files=len(manifest.shards), images=manifest.num_samples, bytes=total)
    damaged: dict[str, str] = {}
    with progress_bar(desc="verifying", total=total, unit="B", unit_scale=True) as bar:
        for entry, error in verified(folder, manifest):
            if error is not None:
                damaged[entry.file] = str(error)
            bar.update(entry.bytes)
    if out is not None:
        write_json(out, {"shards": str(folder), "files": len(manifest.shards), "bytes": total, "damaged": damaged})
    if damaged:
        names = ", ".join([*list(damaged)[:10], *(["..."] if len(damaged) > 10 else [])])
        first = next(iter(damaged.values()))
        raise ShardError(f"{len(damaged)} of {len(manifest.shards)} files are damaged ({names}): {first}")
    tell("all files are intact")
    finish(
        next=command_line("evaluate", str(folder), "REAL"), files=len(manifest.shards),
        images=manifest.num_samples, bytes=total, damaged={},
    )  # fmt: skip
