"""Whether the verdict, the gate, `evaluate`, the warning and the commands detect bad autoencoders.

    python benchmarks/bad_autoencoders.py --data-root ROOT

ROOT is that of classification.py. Each seed of a set draws 240 other images. Every autoencoder is saved and loaded,
like one of a user. Good autoencoders are checked too, and no check may report them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import draw_table, record
from jobs import Job, Rows, Store, fill, in_processes
from own_images import CLOTHES, few
from sets import counted
from torchvision.transforms.v2.functional import gaussian_blur

from augmentor import LatentAugment, QualityGate, load_autoencoder
from augmentor._internal.random import seeded
from augmentor._internal.registry import describe
from augmentor.autoencoders import Autoencoder, ConvVAE, autoencoders
from augmentor.cli import main as augmentor_command
from augmentor.data import ArrayDataset
from augmentor.exceptions import AugmentorWarning
from augmentor.quality import assess, evaluate, independent_features
from augmentor.training import AutoencoderTrainer

# Fraction of the samples of a bad autoencoder that the gate must reject at least.
REJECTED = 0.8


@autoencoders.register("blurred")
class Blurred(Autoencoder):
    """Autoencoder that blurs the images of another one, given as text. sigma: in pixels."""

    def __init__(self, base: str, sigma: float = 1.5):
        other = autoencoders.build(base)
        super().__init__(other.image_shape, other.latent_shape, "gaussian", "none")
        self.base, self.sigma, self.stride, self.other = base, sigma, other.stride, other

    @classmethod
    def of(cls, name: str, sigma: float = 1.5) -> Blurred:
        """Return a pretrained autoencoder with a blur."""
        known = load_autoencoder(name)
        model = cls(describe(known), sigma)
        model.other.load_state_dict(known.state_dict())
        model.stats.load_state_dict(known.stats.state_dict())
        return model

    def _encode(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        return self.other._encode(images)

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        (images,) = self.other._pixels(latents)
        return gaussian_blur(images, 2 * round(3 * self.sigma) + 1, self.sigma)


@dataclass(frozen=True)
class Case:
    """Images of one kind, the pretrained autoencoder for them, and a blur in pixels that is clearly visible."""

    data: ArrayDataset
    good: str
    sigma: float = 1.5
    seed: int = 0


def trained(case: Case, path: Path, steps: int) -> None:
    """Save a variational autoencoder of the default kind, trained on the images for `steps` steps."""
    with seeded(case.seed, "weights"):
        model = ConvVAE(case.data.image_shape)
    if steps:
        AutoencoderTrainer(model, steps=steps, seed=case.seed, progress=False).fit(case.data)
    model.save(path)


def constant(case: Case, path: Path) -> None:
    """Save an autoencoder whose decoder returns the mean colour of the images for all latents."""
    model = load_autoencoder(case.good)
    last = [layer for layer in model.decoder.modules() if isinstance(layer, torch.nn.Conv2d)][-1]
    colour = (case.data.images.float() / 255).mean((0, 2, 3))
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(colour.logit() if model.likelihood == "bernoulli" else colour)
    model.save(path)


def blurred(case: Case, path: Path) -> None:
    """Save the pretrained autoencoder for the images, followed by a blur."""
    Blurred.of(case.good, case.sigma).save(path)


def good(case: Case, path: Path) -> None:
    """Save the pretrained autoencoder for the images."""
    load_autoencoder(case.good).save(path)


KINDS: dict[str, Callable[[Case, Path], None]] = {
    "0 steps": partial(trained, steps=0),
    "50 steps": partial(trained, steps=50),
    "100 steps": partial(trained, steps=100),
    "constant": constant,
    "blurred": blurred,
    "good": good,
}


def by_verdict(model: Autoencoder, case: Case) -> dict[str, Any]:
    """Check whether the verdict of `assess` is "poor"."""
    found = assess(model, case.data, seed=case.seed)
    return {"caught": found.word == "poor", **found.figures()}


def by_gate(model: Autoencoder, case: Case) -> dict[str, Any]:
    """Check whether `QualityGate` rejects most decoded samples."""
    images, labels = case.data.images, case.data.targets
    augment = LatentAugment(model, residual=0.0, gate=QualityGate(), seed=case.seed).fit(case.data)
    *_, weights = augment.synthesize(images, labels, indices=np.arange(len(images)), return_weights=True)
    rejected = float((weights == 0).float().mean())
    return {"caught": rejected >= REJECTED, "rejected": rejected}


def by_evaluate(model: Autoencoder, case: Case) -> dict[str, Any]:
    """Check whether `evaluate` on features independent of autoencoders raises an alarm on decoded samples."""
    images = case.data.images
    samples = LatentAugment(model, residual=0.0, seed=case.seed).synthesize(images)
    scores = evaluate(samples, images, independent_features(images.shape[1:]), seed=case.seed)
    return {"caught": bool(scores["alarm"]), "alarm": scores["alarm"], "fd": scores["fid"]}


def by_first_look(model: Autoencoder, case: Case) -> dict[str, Any]:
    """Check whether `LatentAugment` warns on the first batch."""
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        LatentAugment(model, seed=case.seed)(case.data.images[:32])
    texts = [str(each.message) for each in given if issubclass(each.category, AugmentorWarning)]
    return {"caught": any("reconstructs these images poorly" in text for text in texts), "warnings": texts}


def by_commands(path: Path, case: Case) -> dict[str, Any]:
    """Check whether `augmentor generate` and `train-gan --augment both` stop, and run with --anyway."""
    stopped, went_on = exit_codes(path, case), exit_codes(path, case, "--anyway")
    if len(set(stopped.values())) > 1:
        raise RuntimeError(f"expected both commands to stop or both to run, got exit codes {stopped}")
    caught = set(stopped.values()) == {2} and set(went_on.values()) == {0}
    return {"caught": caught, "exit_codes": stopped, "exit_codes_anyway": went_on}


def exit_codes(path: Path, case: Case, *more: str) -> dict[str, int]:
    """Return the exit codes of the commands with these weights; a failed command must print one error line."""
    data = path.with_name("data.npz")
    np.savez(data, images=case.data.images.permute(0, 2, 3, 1).numpy(), labels=case.data.targets.numpy())
    commands = {
        "generate": ("--num-samples", "8"),
        "train-gan": ("--method", "gan", "--augment", "both", "--steps", "1", "--round-steps", "1",
                      "--batch-size", "8"),
    }  # fmt: skip
    return {
        name: _called(
            [name, str(data), "--autoencoder", str(path), "--device", "cpu", *options, *more,
             "--out", str(path.with_name("".join([name, *more])))]
        )
        for name, options in commands.items()
    }  # fmt: skip


def _called(arguments: list[str]) -> int:
    """Return the exit code of a command that runs in this process."""
    code, err = 0, io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err), warnings.catch_warnings():
        try:
            augmentor_command(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
    said = err.getvalue()
    if code and (not said.startswith("error: ") or said.count("\n") != 1):
        raise RuntimeError(f"expected one line 'error: ...' on stderr, got {said!r}")
    return code


# Checks of an autoencoder in memory; `by_commands` needs its file.
INSTRUMENTS: dict[str, Callable[[Autoencoder, Case], dict[str, Any]]] = {
    "verdict": by_verdict,
    "gate": by_gate,
    "evaluate": by_evaluate,
    "warning": by_first_look,
}


def looked_at(kind: str, case: Case) -> dict[str, dict[str, Any]]:
    """Return the result of each check for an autoencoder of this kind."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", AugmentorWarning)
        path = Path(folder) / "model.safetensors"
        KINDS[kind](case, path)
        found = {name: instrument(load_autoencoder(path), case) for name, instrument in INSTRUMENTS.items()}
        return {**found, "commands": by_commands(path, case)}


def photographs(root: str, seed: int) -> Case:
    """60 images of each of four classes of clothing, 32x32."""
    return Case(few("clothing64", CLOTHES, 60, root, seed, size=32).labelled, "natural", seed=seed)


def mnist(root: str, seed: int) -> Case:
    """24 images of each digit."""
    return Case(counted("mnist", [24] * 10)(root, seed).labelled, "mnist", seed=seed)


SETS: dict[str, Callable[[str, int], Case]] = {"photographs": photographs, "mnist": mnist}


def store_of(job: Job) -> Store:
    return Store(job.work / "bad-autoencoders" / f"{job.name}-{job.seed}.json", {})


def run(job: Job) -> Job:
    """Check each kind that is not stored yet, and store the result."""
    case = SETS[job.name](job.root, job.seed)
    rows = {kind: partial(_row, kind, case) for kind in job.rows}
    store = store_of(job)
    fill(store, job, store.rows(), rows, lambda row: "caught by " + (", ".join(_caught(row)) or "none"))
    return job


def _row(kind: str, case: Case, found: Rows) -> Rows:
    return looked_at(kind, case)


def _caught(row: Rows) -> list[str]:
    return [name for name in (*INSTRUMENTS, "commands") if row[name]["caught"]]


def publish(jobs: list[Job]) -> None:
    """Record in how many seeds each check reports each autoencoder, and the figures."""
    found: dict[str, list[Rows]] = {}
    for job in jobs:
        for kind, row in store_of(job).rows().items():
            found.setdefault(f"{job.name}, {kind}", []).append(row)
    rows = {
        name: {"caught": dict(Counter(name for seed in seeds for name in _caught(seed))), "seeds": seeds}
        for name, seeds in found.items()
    }
    for name, row in rows.items():
        print(f"{name:24} {len(row['seeds'])} seeds, caught by {row['caught']}")
    seeds = sorted({job.seed for job in jobs})
    record("bad-autoencoders", {"sets": sorted({job.name for job in jobs}), "seeds": seeds}, rows)
    draw_table("bad-autoencoders", table(rows))


def table(rows: Rows) -> list[str]:
    """Return in how many seeds each check reports each autoencoder."""
    names = (*INSTRUMENTS, "commands")
    lines = [f"| autoencoder | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for name, row in rows.items():
        cells = [f"{row['caught'].get(instrument, 0)} of {len(row['seeds'])}" for instrument in names]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS), help="sets (default: all)")
    parser.add_argument("--rows", nargs="*", default=list(KINDS), choices=list(KINDS), help="kinds (default: all)")
    parser.add_argument("--seeds", nargs="*", type=int, default=list(range(3)))
    parser.add_argument("--jobs", type=int, default=2, help="number of seeds that run at the same time")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark"), help="folder for what a stopped run keeps")
    options = parser.parse_args()
    jobs = [
        Job(name, seed, options.data_root, options.work, None, tuple(options.rows))
        for name in options.sets
        for seed in options.seeds
    ]
    in_processes(run, jobs, options.jobs, lambda finished: None)
    publish(jobs)


if __name__ == "__main__":
    main()
