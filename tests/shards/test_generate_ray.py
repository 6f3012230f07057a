"""`executor="ray"`: the same bytes on one machine and on two, and when a worker or a machine is lost in the middle."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import ray
import torch
from ray.cluster_utils import Cluster
from test_generate import Unreadable, content, generate, real

from augmentor._internal.random import SampleRandom, sample_keys
from augmentor.data import ArrayDataset
from augmentor.exceptions import DataError, InputError
from augmentor.quality import QualityGate
from augmentor.shards import read_partial
from augmentor.shards.engines.ray import _on_the_cpu
from augmentor.transform import LatentAugment

pytestmark = pytest.mark.slow
MANY = {"num_samples": 120, "shard_size": 7}


@pytest.fixture(scope="module")
def machines():
    """One machine of two CPUs, as far as Ray is concerned; a second is added below."""
    # Its default niceness, 15, makes workers wait for other tests.
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_worker_niceness="0")
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    ray.init(
        address=cluster.address,
        log_to_driver=False,
        logging_level="error",
        runtime_env={"env_vars": {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}},
    )
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return content(generate(tmp_path_factory.mktemp("reference") / "shards", **MANY))


class Deadly(ArrayDataset):
    """The first worker that reads on after `after` shards are there is killed."""

    def __init__(self, folder: Path, after: int):
        super().__init__(real().images, real().targets, real().classes)
        self.folder, self.after, self.caller = folder, after, os.getpid()

    def __getitems__(self, indices):
        if os.getpid() != self.caller and len(list(self.folder.glob("shard-*"))) >= self.after:
            try:
                (self.folder.parent / "killed").touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitems__(indices)


class Slow(ArrayDataset):
    def __getitems__(self, indices):
        time.sleep(0.1)
        return super().__getitems__(indices)


def test_errors_of_workers_arrive_as_they_are_and_finished_shards_stay(machines, tmp_path):
    with pytest.raises(DataError, match=r"^cannot read image 8; mend or remove it$"):
        generate(tmp_path / "shards", Unreadable(), executor="ray")
    folder = generate(tmp_path / "shards")  # and another executor goes on
    assert content(folder) == content(generate(tmp_path / "again"))


def test_more_gpus_than_there_are(machines, tmp_path):
    with pytest.raises(InputError, match="the Ray cluster has 0"):
        generate(tmp_path / "shards", executor="ray", gpus_per_worker=0.5)


def test_one_of_two_workers_is_killed(machines, reference, tmp_path):
    machines.add_node(num_cpus=2)
    folder = tmp_path / "shards"
    folder.mkdir()
    made = generate(folder, Deadly(folder, after=3), executor="ray", **MANY)
    assert (tmp_path / "killed").exists()
    assert content(made) == reference


def test_a_machine_is_lost(machines, reference, tmp_path):
    second = machines.add_node(num_cpus=2)
    folder, data = tmp_path / "shards", real()

    def lose():
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (folder.exists() and len(list(folder.glob("shard-*"))) >= 3):
            time.sleep(0.01)
        machines.remove_node(second, allow_graceful=False)

    thread = threading.Thread(target=lose)
    thread.start()
    made = generate(folder, Slow(data.images, data.targets, data.classes), executor="ray", **MANY)
    thread.join()
    assert read_partial(made) is None
    assert content(made) == reference


def test_a_copy_for_other_machines_draws_the_same(digits, vae):
    """All that it holds is brought to the CPU: reference set, what the policy has fitted, the gate's measure."""
    gate, getter = QualityGate(), lambda sample: sample[1]
    augment = LatentAugment(vae, "class_gaussian(std=0.5)", gate=gate, labels_getter=getter).fit(digits)
    moved = _on_the_cpu(augment)
    images, labels = digits.images[:20], digits.targets[:20]
    random = [SampleRandom(sample_keys(0, 0, range(20))) for _ in range(2)]
    first, second = (each.perturb(images, labels, keys) for each, keys in zip((augment, moved), random, strict=True))
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.weights, second.weights)
    assert moved.gate is not augment.gate
