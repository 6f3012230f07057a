"""The documentation is built with warnings as errors, shows all there is, and asks nothing of the network."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import click
import pytest

import augmentor
from augmentor.autoencoders import list_autoencoders
from augmentor.cli import app
from augmentor.policies import list_policies

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "website"))

# Elements whose address a browser fetches by itself; a link is not among them.
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|link rel="(?:stylesheet|icon|preconnect)")[^>]*(?:src|href)="([^"]+)"""
)


@pytest.mark.slow
def test_the_site(tmp_path):
    """One test, because building takes a while and the workers of a parallel run would each do it."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    every_policy_has_its_picture(tmp_path)
    the_api_shows_every_public_name_and_its_example(tmp_path)
    pages_from_elsewhere_in_the_repository_are_linked_among_each_other(tmp_path)
    every_option_of_the_command_line_is_listed(tmp_path)
    no_page_fetches_anything_from_elsewhere(tmp_path)


def page(site: Path, name: str) -> str:
    return (site / name).read_text(encoding="utf-8")


def every_policy_has_its_picture(site: Path) -> None:
    gallery = page(site, "gallery.html")
    for name in list_policies():
        assert f'<h2 id="{name}">' in gallery
        assert f'src="gallery/{name}.png"' in gallery
        assert (site / "gallery" / f"{name}.png").read_bytes()[1:4] == b"PNG"


def the_api_shows_every_public_name_and_its_example(site: Path) -> None:
    for module in ("augmentor", "augmentor.policies", "augmentor.training", "augmentor.quality", "augmentor.tuning"):
        name = "index" if module == "augmentor" else module.removeprefix("augmentor.")
        text = page(site, f"api/{name}.html")
        home = getattr(augmentor, name, augmentor)
        for public in home.__all__:
            if isinstance(getattr(home, public), (type, types.FunctionType)):
                assert f'id="{module}.{public}"' in text or f">{public}</code></a>" in text, f"{module}.{public}"
    first = page(site, "api/index.html")
    assert "labels_getter</code>: " in first  # arguments are a list
    assert html.escape(">>> ", quote=False) in first
    assert "<blockquote>" not in first  # what an example becomes if it is read as Markdown


def every_option_of_the_command_line_is_listed(site: Path) -> None:
    text = page(site, "commands.html")
    for name in app.list_commands(click.Context(app)):
        section = text.partition(f'<h2 id="{name}">')[2].partition("<h2")[0]
        options = app.get_command(click.Context(app), name).params
        assert [
            option.opts for option in options if option.opts[0].startswith("-") and option.opts[0] not in section
        ] == []


def pages_from_elsewhere_in_the_repository_are_linked_among_each_other(site: Path) -> None:
    start = page(site, "index.html")
    assert 'href="benchmarks.html"' in start
    assert 'href="gan.html"' in start
    (curve,) = re.findall(r'src="(benchmarks/results/gan[^"]*.png)"', start)
    assert (site / curve).read_bytes()[1:4] == b"PNG"
    assert 'href="benchmarks.html#photographs"' in page(site, "photographs.html")
    assert "<td>labels by own predictions, then RandAugment, affine" in page(site, "pseudo-labels.html")
    for name in list_autoencoders():
        assert f'src="pretrained/{name}/reconstructions.png"' in page(site, "pretrained.html")


def no_page_fetches_anything_from_elsewhere(site: Path) -> None:
    found = {address for path in site.rglob("*.html") for address in FETCHED.findall(path.read_text(encoding="utf-8"))}
    assert len(found) > 5
    assert [address for address in found if re.match(r"(?:\w+:)?//", address)] == []
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//[^)\"']+", styles) == []


def test_links_to_what_is_no_page_become_text_and_those_to_pages_are_turned():
    import hooks

    text = "[the licence](LICENSE) [b](benchmarks/README.md#gans) [s](docs/gan.md) [w](//a) ![p](docs/preview.png)"
    assert hooks.linked(text, "README.md", "index.md") == (
        "the licence [b](benchmarks.md#gans) [s](gan.md) [w](//a) ![p](preview.png)"
    )
    assert hooks.linked("[r](../README.md) `x[0](y)`", "docs/api/a.md", "api/a.md") == "[r](../README.md) `x[0](y)`"
    assert hooks.linked("[r](../README.md)", "docs/gan.md", "gan.md") == "[r](index.md)"
