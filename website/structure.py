"""Picture of the structure of the package, drawn from the code: docs/structure.svg.

    python website/structure.py        # writes it again

Rows are the layers of pyproject.toml, which `lint-imports` checks. A box contains the first sentence of the
`__init__.py` of its folder and the names of its files.
"""

from __future__ import annotations

import ast
import textwrap
import tomllib
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs/structure.svg"
WIDTH, LINE, PAD, FLOW, NAME = 1180, 15, 9, 200, 118
STYLE = (
    "text{font:12px sans-serif;fill:#222}.name{font:bold 13px monospace;fill:#303f9f}.head{font-weight:bold}"
    ".files{fill:#667}.flow{fill:#b3541e}rect{fill:#f4f5fb;stroke:#7986cb}"
)

# Layer => what an image becomes there.
STEPS = {
    "data": "images and labels, real and synthetic",
    "transform": "encode, standardise, perturb, gate, decode, mix",
    "autoencoders": "images <=> raw latents",
    "policies": "standardised latents => perturbed ones",
    "denoisers": "noised latents => latents",
    "quality": "perturbed latents => weight 0 to 1",
    "latents": "raw latents <=> standardised latents",
    "shards": "synthetic samples => files => samples",
    "gan": "images => a trained generator",
}


def layers() -> list[list[str]]:
    """Return folders and modules of the package from the top row down, as in pyproject.toml."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    (contract,) = settings["tool"]["importlinter"]["contracts"]
    return [row.split(" | ") for row in contract["layers"]]


def sentence(name: str) -> str:
    """Return the first sentence of the `__init__.py` of a folder, or of a module."""
    path = ROOT / "augmentor" / name
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return (ast.get_docstring(ast.parse(source.read_text("utf-8"))) or "").split("\n\n")[0].split(". ")[0].rstrip(".")


def files(name: str) -> list[str]:
    """Return the modules and folders in a folder, without private ones (leading underscore)."""
    folder = ROOT / "augmentor" / name
    inside = sorted(path for path in folder.iterdir() if (path / "__init__.py").exists()) if folder.is_dir() else []
    return [*_modules(folder), *(f"{path.name}/({', '.join(_modules(path))})" for path in inside)]


def _modules(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.py") if path.stem[0] != "_")


def picture() -> str:
    """Return the picture as SVG."""
    parts, y = [], 34
    for row in layers():
        width = (WIDTH - FLOW) / len(row)
        boxes = [_words(name, width) for name in row]
        height = max(len(about) + len(content) for about, content in boxes) * LINE + 2 * PAD
        for place, (name, (about, content)) in enumerate(zip(row, boxes, strict=True)):
            x = place * width + PAD
            label = f"{name}/" if (ROOT / "augmentor" / name).is_dir() else f"{name}.py"
            parts.append(f'<rect x="{x - PAD:g}" y="{y}" width="{width - 8:g}" height="{height}" rx="4"/>')
            parts += _lines(x, y + LINE + 2, [label], "name") + _lines(x + NAME, y + LINE + 2, about, "about")
            parts += _lines(x, y + (1 + len(about)) * LINE + 2, content, "files")
        steps = [line for name in row if name in STEPS for line in textwrap.wrap(STEPS[name], 30)]
        parts += _lines(WIDTH - FLOW + 6, y + LINE + 2, steps, "flow")
        y += height + 8
    heads = _lines(0, 20, ["Each row may import the rows below it, and no other"], "head")
    heads += _lines(WIDTH - FLOW + 6, 20, ["What flows"], "head")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}">\n'
        f'<style>{STYLE}</style>\n<rect width="{WIDTH}" height="{y}" style="fill:#fff;stroke:none"/>\n'
        + "\n".join(heads + parts)
        + "\n</svg>\n"
    )


def _words(name: str, width: float) -> tuple[list[str], list[str]]:
    """Return the sentence and the files for a box of this width, wrapped."""
    about = textwrap.wrap(sentence(name), int((width - NAME) / 6.6))
    return about, textwrap.wrap("  ".join(files(name)), int(width / 6.4), break_on_hyphens=False)


def _lines(x: float, y: float, lines: list[str], kind: str) -> list[str]:
    return [
        f'<text x="{x:g}" y="{y + LINE * n:g}" class="{kind}">{escape(line)}</text>' for n, line in enumerate(lines)
    ]


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
