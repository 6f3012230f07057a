"""Images of other than one or three channels, and of more than 8 bits, through the commands."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from augmentor import ShardDataset, load_autoencoder
from augmentor._internal.pictures import png, visible


@pytest.mark.parametrize(
    ("channels", "dtype", "low", "high", "note"),
    [(2, np.uint16, 0, 4095, "as red and green"), (12, np.float32, -1000, 3000, "1 to 3 as RGB")],
)
def test_an_npz_of_bands_is_trained_on_drawn_and_generated_from(
    succeeds, refused, monkeypatch, channels, dtype, low, high, note
):
    images = np.random.default_rng(0).uniform(low, high, (40, 16, 16, channels)).astype(dtype)
    np.savez("bands.npz", images=images, labels=np.arange(40) % 2)
    data = f"bands.npz#value_range={low},{high}"
    succeeds(f"train-autoencoder {data} --autoencoder 'vae(latent_dim=4, width=8)' --steps 1 --out run")
    assert load_autoencoder("run/model.safetensors").image_shape[0] == channels
    assert Image.open("run/reconstructions.png").mode == "RGB"
    titles = []
    monkeypatch.setattr("matplotlib.axes.Axes.set_title", lambda axes, title, **_: titles.append(title))
    succeeds(f"preview {data} --autoencoder run/model.safetensors --policy gaussian --out preview.png")
    assert titles[0] == f"originals ({channels} channels, {note})"
    assert Image.open("preview.png").size[0] > 400
    succeeds(f"generate {data} --autoencoder run/model.safetensors --num-samples 6 --anyway --out shards")
    assert ShardDataset("shards").image_shape[0] == channels
    tars = (
        f"generate {data} --autoencoder run/model.safetensors --num-samples 6 --anyway --format webdataset --out tars"
    )
    assert "grey and RGB" in refused(tars)
    assert not Path("tars").exists()


def test_values_of_more_than_8_bits_need_a_range_that_the_message_gives(succeeds, refused):
    scans = np.random.default_rng(0).integers(-1000, 3001, (40, 8, 8)).astype(np.int16)
    np.savez("scans.npz", images=scans)
    said = refused("train-autoencoder scans.npz --out run")
    text = said.partition("FILE")[2].split()[0]
    assert text.startswith("#value_range=-")
    succeeds(f"train-autoencoder scans.npz{text} --autoencoder 'vae(latent_dim=4, width=8)' --steps 1 --out run")


def test_no_channel_is_taken_for_alpha_in_a_picture():
    for channels in (1, 2, 3, 4, 12):
        picture = torch.randint(0, 256, (channels, 8, 8), dtype=torch.uint8)
        drawn = Image.open(io.BytesIO(png(picture)))
        assert drawn.mode == ("L" if channels == 1 else "RGB")
        assert np.array_equal(np.asarray(drawn).reshape(8, 8, -1)[..., :2], picture[:2].permute(1, 2, 0))
        assert visible(picture[None]).shape[1] in (1, 3)
