"""Time and money to generate 1,000,000 images on one GPU, predicted from measured operations and bytes.

    python benchmarks/cost.py                          on one thread of the CPU, about a minute; needs `diffusers`
    python benchmarks/cost.py --efficiency 0.25        assume a lower fraction of the roofline

For each operation of the networks the floating-point operations are counted by torch, and the bytes as the sizes of its
inputs and outputs in bfloat16. The roofline model (Williams et al. 2009) predicts its time as the longer of
operations / peak rate and bytes / memory bandwidth. No program reaches the roofline: all times are divided by
`--efficiency`. Decoding and writing overlap, so the time of a set is the longer of both, times the overhead that
shards.py measured, which also measured the rate of writing.

The same model, with the peak rate and the bandwidth of this CPU, is compared with measured times of the networks that
fit on it. Networks with large weights are built on the device "meta", which computes shapes only.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from common import HERE, RESULTS, Bench, draw_table, record
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from augmentor import load_autoencoder
from augmentor.autoencoders import Autoencoder, ConvVAE

IMAGES, BATCH = 1_000_000, 4
DENOISE_STEPS = round(20 * 0.4)  # of denoise(strength=0.4, steps=20)


@dataclass(frozen=True)
class Machine:
    """A processor: dense operations and bytes per second, US dollars per hour."""

    name: str
    flops: float
    bandwidth: float
    price: float = 0.0


# Rates: NVIDIA's data sheets (dense bfloat16). Prices: on-demand in 2026, g5.xlarge of AWS in us-east-1
# (factualminds.com/blog/amazon-ec2-on-demand-pricing-instance-families-2026), and the middle of the range of
# specialised providers (mercatus-ai.com/blog/cloud-gpu-pricing).
GPUS = (
    Machine("A10G", 70e12, 600e9, 1.006),
    Machine("A100 80GB", 312e12, 2.0e12, 1.30),
    Machine("H200", 989e12, 4.8e12, 4.00),
)


class Operations(TorchDispatchMode):
    """Recorder of (floating-point operations, elements read and written) of each operation that computes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[float, float]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.is_view:
            return result
        count = flop_registry.get(func.overloadpacket)
        flops = count(*args, **(kwargs or {}), out_val=result) if count else 0
        tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor)]
        self.found.append((float(flops), float(sum(tensor.numel() for tensor in tensors))))
        return result


@dataclass(frozen=True)
class Network:
    """Operations of a network on a batch."""

    operations: list[tuple[float, float]]
    batch: int

    @property
    def flops(self) -> float:
        """Return floating-point operations per image."""
        return sum(flops for flops, _ in self.operations) / self.batch

    def seconds(self, machine: Machine, bytes_per_element: int = 2) -> float:
        """Return the time per image at the roofline."""
        times = [
            max(flops / machine.flops, elements * bytes_per_element / machine.bandwidth)
            for flops, elements in self.operations
        ]
        return sum(times) / self.batch


def counted(call: Callable[[], Any], batch: int = BATCH) -> Network:
    """Return the operations of a call."""
    with torch.no_grad(), Operations() as operations:
        call()
    return Network(operations.found, batch)


def forward(model: Autoencoder, side: int, batch: int = BATCH) -> Callable[[], Any]:
    """Return a call that encodes and decodes a batch."""
    images = torch.rand(batch, 3, side, side)
    return lambda: model.decode(model.encode(images).mean, (3, side, side))


def here() -> dict[str, tuple[Autoencoder, int]]:
    """Return the networks that run on a CPU, with the side of their images."""
    torch.manual_seed(0)
    natural = load_autoencoder("natural")
    return {
        "vae(width=64)": (ConvVAE((3, 64, 64), latent_dim=128, width=64).eval(), 64),
        "natural": (natural, 64),
        "natural, 256 px": (natural, 256),
    }


def stable_diffusion(side: int) -> tuple[Network, Network]:
    """Return the autoencoder and the UNet of Stable Diffusion 1.5, from their published configurations."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    with torch.device("meta"):
        autoencoder: Any = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512), down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2, latent_channels=4,
        )  # fmt: skip
        unet: nn.Module = UNet2DConditionModel(cross_attention_dim=768)
        images = torch.rand(BATCH, 3, side, side)
        latents = torch.rand(BATCH, 4, side // 8, side // 8)
        text, time = torch.rand(BATCH, 77, 768), torch.tensor(1)
    both = counted(lambda: autoencoder.decode(autoencoder.encode(images).latent_dist.mode()))
    return both, counted(lambda: unet(latents, time, text))


def this_cpu(bench: Bench) -> Machine:
    """Measure one thread: a product of matrices, and a copy of 256 MB (read and written)."""
    a, b = torch.rand(2048, 2048), torch.rand(2048, 2048)
    source, target = torch.rand(64 << 20), torch.empty(64 << 20)
    seconds = bench.in_turn({"product": lambda: a @ b, "copy": lambda: target.copy_(source)})
    product, copy = (min(times) for times in seconds.values())
    return Machine("this CPU, one thread", 2 * 2048**3 / product, 2 * 4 * source.numel() / copy)


def check(bench: Bench) -> tuple[Machine, dict[str, Any]]:
    """Compare predicted and measured times on this CPU, in float32."""
    machine, rows = this_cpu(bench), {}
    for name, (model, side) in here().items():
        call = forward(model, side)
        with torch.no_grad():
            measured = statistics.median(bench.in_turn({name: call})[name]) / BATCH
        predicted = counted(call).seconds(machine, bytes_per_element=4)
        rows[name] = {"roofline, s": predicted, "measured, s": measured, "efficiency": predicted / measured}
    return machine, rows


def sets() -> dict[str, tuple[int, float, Callable[[Machine], float]]]:
    """Return for each kind of set the side, the operations per image, and seconds per image at the roofline."""
    networks = here()
    model, side = networks.pop("natural, 256 px")
    whole, latents = counted(forward(model, side)), model.encode(torch.rand(BATCH, 3, side, side)).mean
    decoder = counted(lambda: model.decode(latents))  # a residual decodes the latents before the policy, too
    autoencoder, unet = stable_diffusion(256)
    calls = 2 * DENOISE_STEPS  # guidance evaluates the UNet with and without text
    found: dict[str, tuple[int, float, Callable[[Machine], float]]] = {}
    for name, (small, small_side) in networks.items():
        network = counted(forward(small, small_side))
        found[name] = (small_side, network.flops, network.seconds)
    found["natural, residual=1"] = (
        side,
        whole.flops + decoder.flops,
        lambda gpu: whole.seconds(gpu) + decoder.seconds(gpu),
    )
    found["AutoencoderKL of Stable Diffusion 1.5"] = (256, autoencoder.flops, autoencoder.seconds)
    found["denoise(strength=0.4, steps=20) by Stable Diffusion 1.5"] = (
        256,
        autoencoder.flops + calls * unet.flops,
        lambda gpu: autoencoder.seconds(gpu) + calls * unet.seconds(gpu),
    )
    return found


def shards_figures() -> tuple[float, float]:
    """Return bytes written per second, and the time of `generate_shards` over the longer of decoding and writing."""
    make = json.loads((RESULTS / "shards.json").read_text())["rows"]["32x32x3"]["make"]
    return make["bytes"] / make["write alone"], make["generate / larger"]


def predict(efficiency: float) -> dict[str, Any]:
    """Return hours and dollars of each set on each GPU."""
    rate, overhead = shards_figures()
    rows: dict[str, Any] = {}
    for name, (side, flops, seconds) in sets().items():
        size = 3 * side * side + 22
        write = IMAGES * size / rate / 3600
        row = rows[f"{side} px, {name}"] = {"GFLOP per image": flops / 1e9, "bytes per image": size, "write, h": write}
        for gpu in GPUS:
            decode = IMAGES * seconds(gpu) / efficiency / 3600
            hours = overhead * max(decode, write)
            row[gpu.name] = {"decode, h": decode, "h": hours, "$": hours * gpu.price}
    return rows


def short(value: float) -> str:
    """Return a number with two digits."""
    return f"{float(f'{value:.2g}'):,g}"


def table(rows: dict[str, Any]) -> list[str]:
    """Return the lines for docs/speed.md."""
    names = [gpu.name for gpu in GPUS]
    lines = ["| side, network | GFLOP per image | GB | write, h | " + " | ".join(names) + " |"]
    lines.append("|---" * (4 + len(names)) + "|")
    for name, row in rows.items():
        cells = [f"{short(row[gpu]['h'])} h, ${short(row[gpu]['$'])}" for gpu in names]
        lines.append(
            f"| {name} | {short(row['GFLOP per image'])} | {row['bytes per image'] * IMAGES / 1e9:.0f} "
            f"| {short(row['write, h'])} | " + " | ".join(cells) + " |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--efficiency", type=float, default=0.3, help="assumed fraction of the roofline (default: 0.3)")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cpu, checked = check(Bench("cpu", options.rounds))
    rows = predict(options.efficiency)
    for name, row in checked.items():
        print(f"{name}: {1e3 * row['measured, s']:.2f} ms, {row['efficiency']:.2f} of the roofline of this CPU")
    lines = table(rows)
    print("\n".join(lines))
    settings = {"images": IMAGES, "batch": BATCH, "efficiency": options.efficiency, "gpus": [asdict(g) for g in GPUS]}
    record("cost", settings, {"cpu": asdict(cpu), "cpu check": checked, "predicted": rows})
    draw_table("cost", lines, HERE.parent / "docs" / "speed.md")


if __name__ == "__main__":
    main()
