"""Whoever does the work, the bytes are the same: reads of any size, loader workers, parts, ranks."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_generate import Unreadable, content, generate, real

from augmentor.exceptions import DataError, InputError, ShardError
from augmentor.shards import ShardDataset, read_manifest, read_partial
from augmentor.shards.journal import Journal
from augmentor.shards.manifest import MANIFEST

SERVER = multiprocessing.get_context("forkserver")  # imports torch once for all the processes of these tests
SERVER.set_forkserver_preload(["augmentor.shards", "augmentor.transform"])


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return content(generate(tmp_path_factory.mktemp("reference") / "shards"))


# ---------------------------------------------------------------------------- how the real images are read


@pytest.mark.parametrize(("num_workers", "batch_size"), [(0, 3), (0, 256), (2, 5)])
def test_the_size_of_reads_and_who_reads_does_not_show(
    reference, tmp_path, num_workers, batch_size, global_rng_untouched
):
    made = generate(tmp_path / "shards", num_workers=num_workers, batch_size=batch_size)
    assert content(made) == reference


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_error_of_the_data_arrives_as_it_is(tmp_path, num_workers):
    with pytest.raises(DataError, match=r"^cannot read image 8; mend or remove it$"):
        generate(tmp_path / "shards", Unreadable(), num_workers=num_workers)
    assert len(read_partial(tmp_path / "shards").shards) == 1  # the second shard holds number 8


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda image: image.float() / 255, "different types"),
        (lambda image: image[:, :7], r"different shapes .*v2\.Resize"),
    ],
)
def test_images_of_two_types_or_sizes_are_refused(tmp_path, change, said):
    items = [(change(image) if index > 3 else image, label) for index, (image, label) in enumerate(real())]
    with pytest.raises(DataError, match=said):
        generate(tmp_path / "shards", items, batch_size=1)


# ---------------------------------------------------------------------------- parts

PARTS = [(0, 2), (2, 3), (3, 99)]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_parts_in_any_order(reference, tmp_path, order):
    folder = tmp_path / "shards"
    for number, part in enumerate(order):
        generate(folder, unit_range=PARTS[part])
        if number < 2:
            with pytest.raises(ShardError, match="not finished"):
                ShardDataset(folder)
    assert content(folder) == reference


@pytest.mark.slow
def test_parts_at_once(reference, tmp_path):
    folder = tmp_path / "shards"
    parts = [(0, 3), (2, 99)]  # both make shard 2
    jobs = [SERVER.Process(target=generate, args=(folder,), kwargs={"unit_range": part}) for part in parts]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0, 0]
    assert content(folder) == reference


def test_a_call_without_a_part_ends_what_parts_began(reference, tmp_path):
    folder = tmp_path / "shards"
    generate(folder, unit_range=(1, 3))
    kept = (folder / "shard-00001.h5").stat().st_mtime_ns
    generate(folder)
    assert content(folder) == reference
    assert (folder / "shard-00001.h5").stat().st_mtime_ns == kept


def test_a_part_that_mends_a_complete_folder_and_is_stopped_twice_loses_nobodys_record(reference, tmp_path):
    folder = generate(tmp_path / "shards")
    made = {path.name: path.stat().st_mtime_ns for path in folder.glob("shard-*")}
    (folder / "shard-00001.h5").write_bytes(bytes(len(reference["shard-00001.h5"])))
    for _ in range(2):
        with pytest.raises(DataError):  # finds the damage, and gets no further
            generate(folder, Unreadable(), unit_range=(0, 2))
        assert len(read_partial(folder).shards) == 4
    generate(folder, unit_range=(0, 2))  # nobody has to make the others again
    assert content(folder) == reference
    assert {name for name, time in made.items() if (folder / name).stat().st_mtime_ns != time} == {"shard-00001.h5"}


def test_what_others_have_recorded_is_read_while_they_complete_the_folder(reference, tmp_path, monkeypatch):
    folder = tmp_path / "shards"
    generate(folder, unit_range=(0, 2))
    gone = folder / "manifest.partial-00002-00005.jsonl"
    monkeypatch.setattr("augmentor.shards.journal.journals", lambda _: [*sorted(folder.glob("*.jsonl")), gone])
    assert len(read_partial(folder).shards) == 2
    monkeypatch.undo()
    generate(folder)
    gone.write_bytes(b"half a line")  # left by a writer that was killed as another completed the folder
    assert read_partial(folder) is None


def test_nobody_counts_a_damaged_shard_in_that_is_being_made_again(reference, tmp_path):
    folder = tmp_path / "shards"
    generate(folder, unit_range=(0, 2))
    (folder / "shard-00001.h5").write_bytes(bytes(len(reference["shard-00001.h5"])))
    with pytest.raises(DataError):  # finds the damage, and gets no further
        generate(folder, Unreadable(), unit_range=(0, 2))
    generate(folder, unit_range=(2, 5))
    assert not (folder / MANIFEST).exists()
    generate(folder, unit_range=(0, 2))
    assert content(folder) == reference


def test_two_records_of_one_shard_are_told_apart_by_its_bytes(reference, tmp_path):
    """Two makes of GPU may give one shard other bytes; the file in place decides."""
    folder = tmp_path / "shards"
    generate(folder, unit_range=(0, 2))
    mine = folder / "manifest.partial-00000-00002.jsonl"
    settings, _, second = mine.read_text().splitlines()
    other = json.dumps({**json.loads(second), "sha256": "0" * 64})
    (folder / "manifest.partial-00001-00002.jsonl").write_text("\n".join([settings, other, ""]))
    generate(folder, unit_range=(2, 5))
    assert content(folder) == reference


def test_a_part_that_has_nothing_to_do_leaves_the_record_of_one_that_has(reference, tmp_path):
    folder = generate(tmp_path / "shards")
    manifest = read_manifest(folder / MANIFEST)
    journal = Journal(folder / "manifest.partial-00002-00005.jsonl", manifest, manifest.shards[:3])
    journal.close()  # another writer has found damage in its part, and will remove the manifest next
    generate(folder, unit_range=(0, 2))
    assert journal.path.exists()
    generate(folder)
    assert content(folder) == reference


def test_without_ray_the_error_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'latent-augmentor\[ray\]'"):
        generate(tmp_path / "shards", executor="ray")
    assert not (tmp_path / "shards").exists()


# ---------------------------------------------------------------------------- ranks

_RANK = """
import os, sys
from test_generate import generate
from augmentor import ShardDataset
generate(sys.argv[1], executor="torchrun")
if os.environ["RANK"] == "0":
    print(len(ShardDataset(sys.argv[1])))
"""


@pytest.mark.slow
def test_ranks_of_torchrun(reference, tmp_path):
    (tmp_path / "program.py").write_text(_RANK)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    run = subprocess.run(
        [*command, tmp_path / "program.py", tmp_path / "shards"],
        env={
            **os.environ,
            "PYTHONPATH": path,
            "OMP_NUM_THREADS": "1",
            "MALLOC_PERTURB_": "85",
        },  # memory that is not cleared shows
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["30"]
    assert content(tmp_path / "shards") == reference


def test_more_ranks_than_shards_do_no_harm(reference, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "7")
    for rank in range(6, -1, -1):
        monkeypatch.setenv("RANK", str(rank))
        generate(tmp_path / "shards", executor="torchrun")
    assert content(tmp_path / "shards") == reference
