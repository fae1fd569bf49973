"""The report and the replay view as a person meets them: opened in a browser, filtered, stepped through, read."""

import base64
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.viewer.conftest import FAILING

IMAGES = Path(__file__).parents[2] / "docs" / "images"
PAGES = ("report", "replay")
SHOWN = "return [...document.querySelectorAll('details.case')].filter(one => !one.hidden)"
FAILED = "details.case[data-state=fail][open]"


@pytest.fixture
def opened(browser, pages):
    def open_page(name: str) -> Any:
        browser.get_log("browser")  # what older pages have said
        browser.get(pages[name])
        return browser

    return open_page


def find(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def shown(browser: Any) -> list[str]:
    told: list[str] = browser.execute_script(f"{SHOWN}.map(one => one.querySelector('code').textContent)")
    return told


def press(browser: Any, *keys: str) -> None:
    """Keys for whatever has the focus."""
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def choose(browser: Any, id: str, value: str) -> None:
    from selenium.webdriver.support.select import Select

    Select(find(browser, f"#{id}")).select_by_visible_text(value)


def focused(browser: Any) -> str:
    return str(browser.execute_script("return document.activeElement.outerHTML.slice(0, 200)"))


@pytest.mark.parametrize("name", PAGES)
def test_it_loads_without_a_word_on_the_console_and_asks_nobody_for_anything(opened, name) -> None:
    browser = opened(name)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return performance.getEntriesByType('resource').map(one => one.name)") == []


def test_requirements_without_a_case_are_folded(opened) -> None:
    browser = opened("report")
    folded = find(browser, "details.untried")
    assert folded.get_attribute("open") is None
    assert "requirements have no case here" in folded.text
    assert all(button.is_displayed() for button in browser.find_elements("css selector", "button.requirement"))


def test_filters_show_what_they_say_and_count_it(opened) -> None:
    browser = opened("report")
    every = len(shown(browser))
    choose(browser, "state", "fail")
    failed = shown(browser)
    assert FAILING in failed
    assert find(browser, "#shown").text == f"{len(failed)} of {every} cases"
    choose(browser, "profile", "memory")
    assert len(shown(browser)) < len(failed)
    find(browser, "button[type=reset]").click()
    choose(browser, "host", "sim (2)")
    assert len(shown(browser)) == every / 2
    find(browser, "#search").send_keys("middle BRANCH")
    assert shown(browser) == ["core/a-revert-to-the-middle-makes-a-branch"]
    find(browser, "button[type=reset]").click()
    assert find(browser, "#shown").text == f"{every} of {every} cases"


def test_a_requirement_leads_to_its_cases(opened) -> None:
    browser = opened("report")
    find(browser, "button[data-requirement=K2]").click()
    assert set(shown(browser)) == {"core/drives-that-hold-nothing-are-left-out"}


@pytest.mark.parametrize("name", PAGES)
def test_a_failing_case_is_stepped_from_its_first_deed_to_its_last(opened, name) -> None:
    browser = opened(name)
    case = find(browser, FAILED)
    back, on = case.find_elements("css selector", ".step button")
    deeds = case.find_elements("css selector", ".deeds > li")
    assert not back.is_enabled()
    for number, deed in enumerate(deeds, 1):
        on.click()
        assert deed.get_attribute("aria-current") == "step"
        assert case.find_element("css selector", ".step output").text.startswith(f"{number} of {len(deeds)}: ")
        for more in deed.find_elements("css selector", "details"):
            assert "Plan\n1. " in more.text
            assert "Snapshots before\n" in more.text
    assert (back.is_enabled(), on.is_enabled()) == (True, False)
    assert "blocks differ" in deeds[-1].text
    assert ": write 3 (" in deeds[-1].text
    for _ in deeds[1:]:
        back.click()
    assert (deeds[0].get_attribute("aria-current"), back.is_enabled()) == ("step", False)


def test_all_of_it_is_done_from_the_keyboard(opened) -> None:
    from selenium.webdriver.common.keys import Keys

    browser = opened("report")
    press(browser, "/")
    assert 'id="search"' in focused(browser)
    press(browser, *FAILING, Keys.ENTER)
    assert shown(browser) == [FAILING, FAILING]
    press(browser, "j", "k", Keys.SPACE)
    case = browser.switch_to.active_element.find_element("xpath", "..")
    assert (case.get_attribute("open"), case.get_attribute("data-state")) == ("true", "pass")
    deeds = case.find_elements("css selector", ".deeds > li")
    press(browser, *[Keys.ARROW_RIGHT] * len(deeds))
    assert deeds[-1].get_attribute("aria-current") == "step"
    press(browser, Keys.ARROW_LEFT)
    assert deeds[-2].get_attribute("aria-current") == "step"


@pytest.mark.parametrize("name", PAGES)
def test_tab_reaches_everything_that_can_be_used_and_shows_where_it_is(opened, name) -> None:
    from selenium.webdriver.common.keys import Keys

    browser = opened(name)
    browser.execute_script(
        "window.usable = [...document.querySelectorAll('a, button:enabled, input, select, summary')]"
        ".filter(one => one.checkVisibility()); window.met = new Set()"
    )
    for _ in range(browser.execute_script("return window.usable.length")):
        press(browser, Keys.TAB)
        outline = browser.execute_script(
            "window.met.add(document.activeElement); return getComputedStyle(document.activeElement).outlineStyle"
        )
        assert outline == "solid", focused(browser)
    missed = browser.execute_script(
        "return window.usable.filter(one => !window.met.has(one)).map(one => one.outerHTML)"
    )
    assert missed == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_hard_to_read_or_to_reach(opened, axe, name, scheme) -> None:
    browser = opened(name)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.execute_script("document.querySelectorAll('details').forEach(one => one.open = true)")
    for button in browser.find_elements("css selector", f"{FAILED} [data-step='1']"):
        button.click()
    browser.execute_script(axe)
    browser.set_script_timeout(60)
    found = browser.execute_async_script("const [end] = arguments; axe.run().then(end)")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert found["passes"], "nothing was looked at"
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]] == []


def test_it_prints_what_failed_and_none_of_the_buttons(opened) -> None:
    browser = opened("report")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    hidden = [find(browser, selector).is_displayed() for selector in (".filters", f"{FAILED} .step", ".keys")]
    kept = find(browser, f"{FAILED} .end").is_displayed()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert (hidden, kept) == ([False, False, False], True)
    printed = browser.execute_cdp_cmd("Page.printToPDF", {})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")


@pytest.mark.parametrize("name", PAGES)
def test_a_narrow_screen_needs_no_scrolling_sideways(opened, name) -> None:
    browser = opened(name)
    size = {"width": 380, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wide = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert wide[0] <= wide[1]


@pytest.mark.skipif(os.environ.get("XENSNAP_SCREENSHOTS") != "write", reason="XENSNAP_SCREENSHOTS=write takes them")
@pytest.mark.parametrize(("name", "scheme"), [("report", "light"), ("replay", "dark")])
def test_the_pictures_of_the_documentation_are_taken(opened, name, scheme) -> None:
    browser = opened(name)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    case = find(browser, FAILED)
    if name == "replay":
        for _ in case.find_elements("css selector", ".deeds > li"):
            case.find_element("css selector", "[data-step='1']").click()
        browser.execute_script("document.querySelector('.case').scrollIntoView()")
    time.sleep(0.5)  # for the eyes of people only: smooth scrolling has ended
    picture = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    (IMAGES / f"{name}.png").write_bytes(base64.b64decode(picture["data"]))
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert (IMAGES / f"{name}.png").stat().st_size < 200_000
