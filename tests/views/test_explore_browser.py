"""The page in a real browser: load, change, fail, recover, copy."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from browser import Page, missing, opened

from augmentor.policies import list_policies
from augmentor.views.explore import Settings, recipe

pytestmark = pytest.mark.slow


@pytest.fixture
def page(few, explorer) -> Iterator[Page]:
    pytest.importorskip("selenium", reason="the extra `test` is not installed")
    if reason := missing():
        if os.environ.get("AUGMENTOR_CI"):
            pytest.fail(f"{reason}; .ci/run installs it")
        pytest.skip(reason)
    with opened(Settings(data=few, images=4, copies=2), explorer) as page:
        yield page


def test_load_change_fail_recover_and_copy(page, few, explorer):
    from selenium.webdriver.common.keys import Keys

    # Load: originals, reconstructions and two samples of each, and what belongs to one of them.
    assert len(page.images("#grid")) == 4 * (1 + 1 + 2)
    assert len(page.images("#near")) == 6
    assert len(page.images("#traversal")) == 4 * 7
    assert page.script("return [...document.images].every((i) => i.complete && i.naturalWidth > 0)")
    names = page.script("return [...document.querySelectorAll('#known-policies option')].map((o) => o.text)")
    assert names == list_policies()

    # Change: a slider moves the samples and the text of the policy, and leaves the originals.
    before = page.images("#grid")
    page.type("#controls input", Keys.ARROW_RIGHT * 4)
    after = page.images("#grid")
    assert page.value("#policy") == "gaussian(std=0.7)"
    assert after[:8] == before[:8]
    assert all(old != new for old, new in zip(before[8:], after[8:], strict=True))

    # Change: another policy brings its own sliders; a policy typed in does, too.
    page.type("#known-policies", "smote")
    assert page.script("return [...document.querySelectorAll('#controls input')].map((i) => i.id)") == ["k", "strength"]
    page.fill("#policy", "compose(gaussian(std=0.2), extrapolate(strength=0.5))")
    assert page.value("#known-policies") == "compose"
    page.type("#controls input:last-of-type", Keys.ARROW_LEFT)
    assert page.value("#policy") == "compose(gaussian(std=0.15), extrapolate(strength=0.5))"

    # Change: the gate draws again; a click looks at another sample.
    page.click("#redraw")
    page.click("#grid .sample:nth-last-child(2)")
    assert page.script("return [settings.original, settings.copy]") == [2, 1]
    assert "sample 2" in page.text("#sample")

    # Fail: one line, and nothing is lost.
    kept = page.images("main")
    page.fill("#data", "nowhere")
    assert page.text("#error").startswith("found no data at 'nowhere'")
    assert page.images("main") == kept
    assert page.value("#policy") == "compose(gaussian(std=0.15), extrapolate(strength=0.5))"

    # Recover, and copy: the clipboard has what the library says of these settings.
    page.fill("#data", few)
    assert not page.text("#error")
    assert page.images("main") == kept
    view = explorer.view(Settings.read(page.script("return settings")))
    assert view.settings.redraw
    page.driver.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    for take, text in (("code", recipe.code), ("command", recipe.command), ("policy", recipe.policy_json)):
        page.find(f"[data-take={take}]").click()
        page.find("#copy").click()
        copied = page.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
        assert copied == text(view)
        assert page.text("#copy") == "Copied"

    # All of it came from this address, and nothing went wrong on the way but the one bad data argument.
    asked = page.script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert {name for name in asked if not name.startswith((page.address, "data:"))} == set()
    severe = [entry["message"] for entry in page.driver.get_log("browser")]
    assert len(severe) == 1
    assert "400" in severe[0]
