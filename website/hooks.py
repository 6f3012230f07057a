"""Hooks of mkdocs: pages from outside docs/, generated pages, and links to them.

Links in README.md, docs/ and benchmarks/README.md are written for the repository. Here they are changed to links to
pages of the site. A link to a file without a page becomes plain text.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import commands  # noqa: E402
import gallery  # noqa: E402

# File of the repository => page of the site. Files in docs/ are pages already.
PAGES = {
    "README.md": "index.md",
    "benchmarks/README.md": "benchmarks.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
# Module => page. Members of an earlier page are not shown again.
API = {
    "augmentor": "api/index.md",
    **{
        f"augmentor.{name}": f"api/{name}.md"
        for name in ("policies", "autoencoders", "latents", "quality", "data", "shards", "gan", "gan.networks",
                     "gan.losses", "gan.methods", "gan.augmentations", "denoisers", "training", "tuning",
                     "integrations", "exceptions", "albumentations")
    },
}  # fmt: skip
# Pictures from outside docs/.
PICTURES = ("pretrained/*/*.png", "benchmarks/results/*.png")
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")
# Text before the comment on its line is for readers of the repository.
TABLE = re.compile(r"^.*<!-- table: (\S+) -->", re.MULTILINE)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Set the navigation: unlisted pages of docs/ come last among the guides; then the pages of the API."""
    sections = {title: content for entry in config.nav or [] for title, content in entry.items()}
    there = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    named = {uri for content in sections.values() if isinstance(content, list) for e in content for uri in e.values()}
    guides = [e for e in sections["How-to"] if set(e.values()) <= there]
    sections["How-to"] = guides + sorted(there - named)
    sections["API"] = [{module: uri} for module, uri in API.items()]
    config.nav = [{title: content} for title, content in sections.items()]
    config.watch += [str(ROOT / path) for path in ("augmentor", "website", *PAGES)]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add pages and pictures from outside docs/."""
    made: dict[str, str | bytes] = {uri: (ROOT / path).read_text("utf-8") for path, uri in PAGES.items()}
    made |= {uri: api_page(module) for module, uri in API.items()}
    made["pretrained.md"] = cards()
    made["commands.md"] = commands.page()
    made |= {f"gallery/{name}.png": gallery.picture(name) for name in gallery.names()}
    for picture in itertools.chain(*map(ROOT.glob, PICTURES)):
        made[picture.relative_to(ROOT).as_posix()] = picture.read_bytes()
    for uri, content in made.items():
        files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Insert tables of the benchmarks and the gallery, and change links."""
    uri = page.file.src_uri
    origin = next((path for path, target in PAGES.items() if target == uri), f"docs/{uri}")
    markdown = TABLE.sub(lambda found: table(found[1]), markdown)
    markdown = markdown.replace("<!-- gallery -->", gallery.sections())
    return linked(markdown, origin, uri)


def linked(markdown: str, origin: str, uri: str) -> str:
    """Return the text of the file `origin` for the page `uri`, with links to pages; others become plain text."""

    def turned(found: re.Match[str]) -> str:
        mark, text, target, anchor = found[1], found[2], found[3], found[4] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
        if "://" in target or not (ROOT / path).exists():
            return found[0]  # external, a generated page, code, or an error that mkdocs reports
        if (home := place_of(path)) is None:
            return text
        return f"{mark}[{text}]({posixpath.relpath(home, posixpath.dirname(uri) or '.')}{anchor})"

    return LINK.sub(turned, markdown)


def place_of(path: str) -> str | None:
    """Return the page or file of the site for a path of the repository, or None."""
    if path in PAGES or f"{path}/README.md" in PAGES:
        return PAGES.get(path) or PAGES[f"{path}/README.md"]
    if any(PurePath(path).match(pattern) for pattern in PICTURES):
        return path
    if path.split("/")[0] == "pretrained":
        return "pretrained.md"
    return path.removeprefix("docs/") if path.startswith("docs/") else None


def table(name: str) -> str:
    """Return a generated table of benchmarks/README.md."""
    text = (ROOT / "benchmarks/README.md").read_text("utf-8")
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- end {name} -->", text, re.DOTALL)
    if found is None:
        raise KeyError(f"benchmarks/README.md has no table {name!r}")
    return found[1] or "*(This table has not been measured yet.)*\n"


def cards() -> str:
    """Return the cards of all pretrained models as one page."""
    text = "# Pretrained models\n\n`LatentAugment(NAME)` and `--autoencoder NAME` load autoencoders,\n"
    text += "`augmentor.gan.load_generator(NAME)` and `augmentor evaluate NAME DATA` load generators.\n"
    for card in sorted((ROOT / "pretrained").glob("*/card.md")):
        text += "\n#" + linked(card.read_text("utf-8"), card.relative_to(ROOT).as_posix(), "pretrained.md")
    return text


def api_page(module: str) -> str:
    """Return the page of a module: its public classes and functions, with links to those of earlier pages."""
    shown = {}
    for earlier, uri in API.items():
        if earlier == module:
            break
        shown |= {value: f"{posixpath.relpath(uri, 'api')}#{earlier}.{name}" for name, value in public(earlier)}
    summary = (importlib.import_module(module).__doc__ or "").split("\n\n")[0]
    text, elsewhere = f"# {module}\n\n{summary}\n", []
    for name, value in public(module):
        if value in shown:
            elsewhere.append(f"[`{name}`]({shown[value]})")
        else:
            text += f"\n::: {module}.{name}\n"
    return text + (f"\nAlso here: {', '.join(elsewhere)}.\n" if elsewhere else "")


def public(module: str) -> Iterator[tuple[str, Any]]:
    """Yield name and value of the public classes and functions of a module."""
    home = importlib.import_module(module)
    mine = [name for name, value in vars(home).items() if getattr(value, "__module__", "") == module and name[0] != "_"]
    for name in getattr(home, "__all__", mine):
        if inspect.isclass(value := getattr(home, name)) or inspect.isfunction(value):
            yield name, value
