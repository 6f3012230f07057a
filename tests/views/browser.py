"""A real browser without a window, for the tests of the page and for the picture in the documentation.

    python tests/views/browser.py docs/explore.png --data mnist:ROOT

draws the picture: it starts `augmentor explore`, clicks, and takes a screenshot.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from augmentor.views.explore import Explorer, Settings
from augmentor.views.explore.server import serve

BROWSERS = ("chromium", "chromium-browser", "google-chrome")  # Debian's names first
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
          "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage")  # fmt: skip


def missing() -> str | None:
    """What a browser test lacks here, or None."""
    if not any(map(shutil.which, BROWSERS)):
        return "no chromium on this machine"
    return None if shutil.which("chromedriver") else "no chromedriver on this machine"


class Page:
    """The page in a browser, by what a user does with it; each waits for the answer."""

    def __init__(self, driver: Any, address: str):
        self.driver, self.address = driver, address
        driver.get(address)
        self._until_answered(0)

    def script(self, code: str, *arguments: Any) -> Any:
        """What JavaScript returns."""
        return self.driver.execute_script(code, *arguments)

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def text(self, selector: str) -> str:
        return self.find(selector).text

    def value(self, selector: str) -> str:
        return self.find(selector).get_property("value")

    def images(self, selector: str) -> list[str]:
        """The addresses of the images below an element."""
        return self.script("return [...document.querySelectorAll(arguments[0] + ' img')].map((i) => i.src)", selector)

    def click(self, selector: str) -> None:
        with self._answer():
            self.find(selector).click()

    def type(self, selector: str, *keys: str) -> None:
        """Press keys, such as arrows on a slider."""
        with self._answer():
            self.find(selector).send_keys(*keys)

    def fill(self, selector: str, text: str) -> None:
        """Put a text in the place of what a field has, and press Enter."""
        from selenium.webdriver.common.keys import Keys

        self.find(selector).send_keys(Keys.CONTROL, "a")
        self.type(selector, text, Keys.ENTER)

    @contextlib.contextmanager
    def _answer(self) -> Iterator[None]:
        before = self._answers()
        yield
        self._until_answered(before)

    def _answers(self) -> int:
        return int(self.script("return document.body.dataset.answers ?? 0"))

    def _until_answered(self, before: int) -> None:
        from selenium.webdriver.support.ui import WebDriverWait

        done = "return !asking && document.body.dataset.state !== 'busy'"
        WebDriverWait(self.driver, 120, poll_frequency=0.05).until(
            lambda _: self._answers() > before and self.script(done)
        )


@contextlib.contextmanager
def opened(settings: Settings, explorer: Explorer) -> Iterator[Page]:
    """The page, served on the loopback address, in a fresh chromium that logs its console and its network."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    server = serve(explorer, settings, "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = next(path for path in map(shutil.which, BROWSERS) if path)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        for flag in (*_FLAGS, f"--user-data-dir={profile}", "--window-size=1500,1000"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver"), log_output=os.devnull))
        try:
            yield Page(driver, f"http://127.0.0.1:{server.port}/")
        finally:
            driver.quit()
            server.shutdown()
            server.server_close()


def screenshot(out: str | Path, data: str) -> None:
    """The picture of the documentation."""
    from selenium.webdriver.common.keys import Keys

    with opened(Settings(data=data), Explorer()) as page:
        page.type("#controls input", Keys.ARROW_RIGHT * 6)
        page.click("#grid .sample:nth-last-child(3)")
        page.find("[data-take=command]").click()
        page.script("document.activeElement.blur()")
        bottom = page.script("return document.querySelector('#take').getBoundingClientRect().bottom")
        clip = {"x": 0, "y": 0, "width": 1500, "height": bottom + 18, "scale": 1}
        taken = page.driver.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
        Path(out).write_bytes(base64.b64decode(taken["data"]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--data", default="digits")
    screenshot(**vars(parser.parse_args()))
