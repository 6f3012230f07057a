"""`AugmentedLoader` in two real processes: no two make the same samples, whoever divides the data.

All images are the same one, so that samples differ by their noise alone.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset

from augmentor import AugmentedLoader, LatentAugment
from augmentor.data import load_source
from augmentor.exceptions import AugmentorWarning, InputError

COUNT, BATCH = 48, 8

_SCRIPT = """
import sys, torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[2])
import test_loader_distributed as tests
tests.in_each_process(sys.argv[1])
"""


class Same(Dataset):
    """One digit many times, as dicts of an image in [0, 1] and its number."""

    def __init__(self):
        self.image = load_source("digits").images[0] / 255

    def __len__(self):
        return COUNT

    def __getitem__(self, index):
        return {"pixel_values": self.image, "labels": index}


class Stream(IterableDataset):
    def __iter__(self):
        yield from map(Same().__getitem__, range(COUNT))


class Noting(nn.Module):
    """A model that trains, and notes what it is given."""

    def __init__(self):
        super().__init__()
        self.linear, self.seen = nn.Linear(1, 1), []

    def forward(self, pixel_values, labels, is_synthetic):
        self.seen.append({"pixel_values": pixel_values, "labels": labels, "is_synthetic": is_synthetic})
        return {"loss": self.linear(pixel_values.new_ones(1, 1)).sum()}


def around(loader, **arguments) -> AugmentedLoader:
    return AugmentedLoader(loader, LatentAugment("digits", "gaussian"), ratio=1.0, return_mask=True, **arguments)


def divided(**arguments) -> AugmentedLoader:
    return around(DataLoader(Same(), BATCH, sampler=DistributedSampler(Same(), shuffle=False)), **arguments)


def rows(batches) -> dict[str, torch.Tensor]:
    """Synthetic images, and the numbers of the real rows."""
    found = list(batches)
    images = torch.cat([batch["pixel_values"][batch["is_synthetic"]] for batch in found])
    return {"images": images, "real": torch.cat([batch["labels"][~batch["is_synthetic"]] for batch in found])}


# --- what each process does


def in_each_process(folder: str) -> None:
    warnings.simplefilter("error", AugmentorWarning)
    warnings.filterwarnings("ignore", "autoencoder 'digits' reconstructs")  # of one image their mean is all there is
    torch.distributed.init_process_group("gloo")
    made = {}
    for case in (of_sampler, of_all_data, of_accelerate, of_lightning, of_transformers):
        torch.manual_seed(0)  # the same in both
        made |= case(folder)
    torch.save(made, f"{folder}/{torch.distributed.get_rank()}.pt")
    torch.distributed.destroy_process_group()


def of_sampler(folder: str) -> dict:
    return {"sampler": rows(divided()), "sampler, seed": rows(divided(seed=5))}


def of_all_data(folder: str) -> dict:
    """Loaders that give each process all of the data: what was said, and what was made."""
    early = DistributedSampler(Same(), num_replicas=1, rank=0)  # as made before the processes know of each other
    inside = {"map-style": DataLoader(Same(), BATCH), "iterable": DataLoader(Stream(), BATCH),
              "early sampler": DataLoader(Same(), BATCH, sampler=early)}  # fmt: skip
    made = {}
    for name, loader in {name: around(loader) for name, loader in inside.items()}.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", AugmentorWarning)
            warnings.filterwarnings("ignore", "autoencoder 'digits' reconstructs")
            made[name] = rows(loader) | {"again": rows(loader)["images"]}
        made[name]["said"] = [str(w.message) for w in caught if issubclass(w.category, AugmentorWarning)]
    return made


def of_accelerate(folder: str) -> dict:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    with pytest.raises(InputError, match=r"AugmentedLoader\(accelerator.prepare\(loader\), augment\)"):
        accelerator.prepare_data_loader(around(DataLoader(Same(), BATCH)))
    with pytest.warns(AugmentorWarning) if accelerator.is_main_process else warnings.catch_warnings():
        whole = rows(accelerator.prepare(around(DataLoader(Same(), BATCH))))  # which Accelerate does not look at
    right = around(accelerator.prepare(DataLoader(Same(), BATCH, shuffle=True)), device=accelerator.device)
    dispatched = Accelerator(cpu=True, dataloader_config=_dispatching()).prepare(DataLoader(Same(), BATCH))
    return {"accelerate": rows(right), "accelerate, wrapped before": whole, "dispatched": rows(around(dispatched))}


def _dispatching():
    from accelerate import DataLoaderConfiguration

    return DataLoaderConfiguration(dispatch_batches=True)


def of_lightning(folder: str) -> dict:
    import lightning as L

    class Module(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = Noting()

        def training_step(self, batch, index):
            return self.model(**batch)["loss"]

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    L.seed_everything(0, verbose=False)
    loader, module = divided(), Module()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = L.Trainer(max_epochs=2, accelerator="cpu", strategy="ddp", devices=2, default_root_dir=folder, **quiet)
    trainer.fit(module, loader)
    assert loader.sampler.epoch == 1  # Lightning has found it
    return {"lightning": rows(module.model.seen)}


def of_transformers(folder: str) -> dict:
    from transformers import Trainer, TrainingArguments

    class Augmenting(Trainer):
        def get_train_dataloader(self):
            return around(super().get_train_dataloader(), device=self.args.device)

    model = Noting()
    arguments = TrainingArguments(
        f"{folder}/trainer", num_train_epochs=1, per_device_train_batch_size=BATCH, use_cpu=True, report_to="none",
        save_strategy="no", disable_tqdm=True, dataloader_pin_memory=False, remove_unused_columns=False,
    )  # fmt: skip
    Augmenting(model, arguments, train_dataset=Same()).train()
    return {"transformers": rows(model.seen)}


# --- what comes of it


@pytest.fixture(scope="module")
def processes(tmp_path_factory) -> list[dict]:
    """What both processes made."""
    folder = tmp_path_factory.mktemp("processes")
    (folder / "script.py").write_text(_SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launch, str(folder / "script.py"), str(folder), str(Path(__file__).parent)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-6000:]
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def distinct(images: torch.Tensor) -> bool:
    return len(images.flatten(1).unique(dim=0)) == len(images)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "epochs"),
    [("sampler", 1), ("sampler, seed", 1), ("accelerate", 1), ("dispatched", 1), ("lightning", 2), ("transformers", 1)],
)
def test_each_process_has_its_part_and_no_two_samples_are_the_same(processes, case, epochs):
    images, real = (torch.cat([made[case][name] for made in processes]) for name in ("images", "real"))
    assert real.bincount().tolist() == [epochs] * COUNT
    assert len(images) == epochs * COUNT
    assert distinct(images)


@pytest.mark.slow
def test_with_a_seed_they_are_those_of_one_process(processes):
    alone = rows(around(DataLoader(Same(), BATCH), seed=5))["images"]
    together = torch.stack([made["sampler, seed"]["images"] for made in processes], 1).flatten(0, 1)
    torch.testing.assert_close(together, alone, atol=1 / 255, rtol=0)  # place k of rank r is 2k + r


@pytest.mark.slow
@pytest.mark.parametrize("case", ["map-style", "iterable", "early sampler", "accelerate, wrapped before"])
def test_where_nobody_divides_the_data_samples_differ_all_the_same(processes, case):
    assert [len(made[case]["real"]) for made in processes] == [COUNT, COUNT]
    assert distinct(torch.cat([made[case]["images"] for made in processes]))


@pytest.mark.slow
def test_that_nobody_divides_a_map_style_data_set_is_said_once(processes):
    for case in ("map-style", "early sampler"):
        said = [made[case]["said"] for made in processes]
        assert [len(texts) for texts in said] == [1, 0]  # by the first process, in the first of two epochs
        assert "sampler=DistributedSampler(dataset)" in said[0][0]
    assert [made["iterable"]["said"] for made in processes] == [[], []]
