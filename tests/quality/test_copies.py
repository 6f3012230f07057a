"""Which generated images are copies: the figures, the neighbours and the page."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import TensorDataset

from augmentor import load_autoencoder
from augmentor.exceptions import DataError, InputError, RangeError, ShapeError
from augmentor.latents import Latents, ReferenceSet
from augmentor.quality import AutoencoderFeatures, QualityGate, find_copies
from augmentor.views.copies import copies_html

PIXELS = nn.Flatten()


def pictures(count: int, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, *(shape or (1, 8, 8)), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def features() -> AutoencoderFeatures:
    return AutoencoderFeatures(load_autoencoder("digits"))


def test_copies_are_told_from_new_images(digits, features):
    real, fresh = digits.images[:1200], digits.images[1200:1500]
    shake = torch.randint(-6, 7, (50, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    nearly = (real[100:150].int() + shake).clamp(0, 255).to(torch.uint8)
    found = find_copies(torch.cat([real[:30], nearly, fresh]), real, features)
    assert found.distance.shape == found.rows.shape == (380, 3)
    assert found.rows[:80, 0].tolist() == [*range(30), *range(100, 150)]
    assert (found.distance[:, 1:] >= found.distance[:, :-1]).all()
    assert (found.novelty[:80] == 0).all()
    assert (found.novelty[80:] < 0.01).float().mean() < 0.05
    assert abs(float(found.novelty[80:].mean()) - 0.5) < 0.1  # held-out real images are as near as real ones are
    summary = found.summary()
    assert summary["images"] == 380
    assert summary["exact"] == 30
    assert 80 / 380 <= summary["nearer_than_all"] <= summary["nearer_than_99_percent"] < 95 / 380
    floor = summary["floor"]
    assert (floor["images"], floor["exact"], floor["nearer_than_all"]) == (1200, 0, 0)
    assert floor["nearer_than_99_percent"] == pytest.approx(0.01, abs=0.002)
    assert "30 of 380 are the same as a real image" in str(found)


def test_the_share_is_the_novelty_of_the_gate(digits, features):
    real, made = digits.images[:400], digits.images[390:600]
    found = find_copies(made, real, features)
    raw = features(real).double()
    mean, deviation = raw.mean(0), raw.std(0)
    gate = QualityGate().fit(ReferenceSet((raw - mean) / deviation))
    expected = gate.score(Latents((features(made).double() - mean) / deviation)).novelty
    torch.testing.assert_close(found.novelty.float(), expected.float())


def test_the_neighbours_are_those_of_standard_features():
    """A feature of a hundred times the range has no more to say, and one that never moves says nothing."""
    scale = torch.tensor([1.0, 100.0, 1e-3, 0.0]).reshape(4, 1, 1) / 100
    real, made = pictures(60, 4, 1, 1) * scale, pictures(20, 4, 1, 1, seed=1) * scale
    made[:, 3] = 0.5
    found = find_copies(made, real, PIXELS, k=2)
    deviation = real.std(0)
    gaps = ((made[:, None] - real)[:, :, :3] / deviation[:3]).flatten(2)
    expected = (gaps.square().sum(2) / 4).sqrt().topk(2, largest=False)
    torch.testing.assert_close(found.distance.float(), expected.values)
    assert torch.equal(found.rows, expected.indices)


def test_copies_count_even_where_the_real_images_repeat():
    real = pictures(40).repeat(2, 1, 1, 1)
    summary = find_copies(torch.cat([real[:10], pictures(20, seed=1)]), real, PIXELS).summary()
    assert summary["exact"] == 10
    assert summary["nearer_than_all"] == pytest.approx(1 / 3)
    assert summary["floor"]["exact"] == 80


def test_data_sets_do_as_well_as_tensors(digits, global_rng_untouched):
    tensors = find_copies(digits.images[:20], digits.images[:90], PIXELS)
    sets = find_copies(TensorDataset(digits.images[:20]), digits.subset(torch.arange(90)), PIXELS)
    assert torch.equal(sets.distance, tensors.distance)
    page = copies_html(sets, TensorDataset(digits.images[:20]), digits.subset(torch.arange(90)), title="t")
    assert page == copies_html(tensors, digits.images[:20], digits.images[:90], title="t")


def test_what_does_not_fit_is_refused():
    with pytest.raises(DataError, match="at least 10 real samples, got 5"):
        find_copies(pictures(20), pictures(5), PIXELS)
    with pytest.raises(ShapeError, match="64 and 16"):
        find_copies(pictures(20), pictures(20, 1, 4, 4), PIXELS)
    with pytest.raises(RangeError, match="finite features"):
        find_copies(pictures(20) * torch.nan, pictures(20), PIXELS)
    with pytest.raises(InputError, match="at least 1; got 0"):
        find_copies(pictures(20), pictures(20), PIXELS, k=0)


@pytest.mark.parametrize(("shape", "count"), [((1, 8, 8), 60), ((3, 100, 70), 11)], ids=str)
def test_the_page_shows_the_figures_and_two_pictures(shape, count):
    real, made = pictures(30, *shape), pictures(count, *shape, seed=1)
    made[:4] = real[5:9]
    found = find_copies(made, real, PIXELS)
    page = copies_html(found, made, real, title="A <title>")
    assert "A &lt;title&gt;" in page
    assert f"<td>generated</td><td>{count}</td><td>4</td>" in page
    assert page.index("Nearest to real images") < page.index("Random images")
    drawn = [base64.b64decode(text) for text in re.findall(r"base64,([^\"]+)", page)]
    assert len(drawn) == 2
    for data in drawn:
        picture = Image.open(io.BytesIO(data))
        assert picture.width > 1000
        assert picture.height >= 80 * -(-min(24, count) // 4)
    assert (copies_html(found, made, real, title="A <title>", seed=1) == page) == (count == 11)


def test_the_first_strip_is_the_copy_beside_its_original():
    real, made = pictures(30, 3, 16, 16), 0.2 * pictures(20, 3, 16, 16, seed=1)
    made[7] = real[13] = torch.tensor([1.0, 0.0, 0.0])[:, None, None].expand(3, 16, 16)  # red, as nothing else is
    page = copies_html(find_copies(made, real, PIXELS), made, real, title="t")
    data = base64.b64decode(re.search(r"base64,([^\"]+)", page)[1])
    pixels = torch.from_numpy(np.array(Image.open(io.BytesIO(data)).convert("RGB"))).int()
    red = (pixels[..., 0] > 240) & (pixels[..., 1:].amax(2) < 20)
    rows, columns = red.any(1).nonzero()[:, 0], red.any(0).nonzero()[:, 0]
    assert rows.max() < pixels.shape[0] / 5
    assert columns.max() < pixels.shape[1] / 7  # the generated and the nearest real one, at the left of the first strip
    assert (columns.diff() > 1).sum() == 1
