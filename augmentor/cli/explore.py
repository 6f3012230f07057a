"""``augmentor explore [DATA]``"""

from __future__ import annotations

import webbrowser
from typing import Any

import click

from ._options import augment_options, data_options, say, seed_and_device


@click.command()
@click.argument("data", default="digits")
@data_options
@augment_options
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0 takes a free one.")
@click.option(
    "--host", default="127.0.0.1",
    help="Address to bind to. Whoever reaches another one than this can read what this user can.",
)  # fmt: skip
@click.option("--no-browser", is_flag=True, help="Only say where the page is.")
@seed_and_device
def explore(
    data: str, reading: dict[str, Any], autoencoder: str, policy: str, residual: Any, port: int, host: str,
    no_browser: bool, seed: int, device: str,
) -> None:  # fmt: skip
    """Look at DATA, its reconstructions and samples in a page on this machine, and move sliders.

    Everything it shows can be copied as code, as a command, or as a policy.json. Ctrl-C ends it.
    """
    from ..views.explore import Explorer, Settings
    from ..views.explore.server import serve

    explorer = Explorer(device)
    settings = Settings(data, **reading, autoencoder=autoencoder, policy=policy,
                        residual=None if residual == "auto" else residual, seed=seed)  # fmt: skip
    server = serve(explorer, settings, host, port)
    view = explorer.view(settings)  # bad input ends the command here, and the page opens with all at hand
    known = f"{view.config['autoencoder']} ({view.family})"
    say(data=f"{data}: {view.total} images, {view.looked} of them looked at", autoencoder=known,
        verdict=view.verdict, policy=view.settings.policy, residual=view.settings.residual, seed=seed,
        device=device)  # fmt: skip
    address = f"http://{f'[{host}]' if ':' in host else host}:{server.port}/"
    click.echo(f"open {address}   (Ctrl-C ends it)")
    if not no_browser:
        webbrowser.open(address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()
