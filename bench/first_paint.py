"""How soon the chat page is there: first paint, and the moment at which a question can be typed.

    ./footnote ui --port 8600
    python -m bench.first_paint --url http://127.0.0.1:8600 --rounds 10 [--conversation ID]

Each round is a browser without a cache, headless Chromium (CHROMIUM=PATH names another), on the server's machine. With
`--conversation` it is the reload of a stored one, until its last answer is shown. The first round after the server's
start pays for its imports and is told apart. Under 2 s is wanted on an idle machine, so the machine's load is told,
too. The last line is JSON; times are in milliseconds from the navigation's start.
"""

import argparse
import json
import os
import shutil
from collections.abc import Sequence
from statistics import median
from typing import Any

from playwright.sync_api import Browser, sync_playwright

WANTED_MS = 2_000
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--conversation", default="", metavar="ID", help="as the page's address has it after ?c=")
    options = parser.parse_args()
    url = f"{options.url}/?c={options.conversation}" if options.conversation else options.url
    ready = '[data-fn-state="answered"] >> nth=-1' if options.conversation else ".fn-welcome h1"
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--headless=new", "--no-sandbox"])
        rounds = [_visit(browser, url, ready) for _ in range(options.rounds + 1)]
        browser.close()
    first, *rest = rounds
    print(f"{'':12}{'first paint':>12}{'usable':>12}   ms")
    for name, (paint, usable) in (("first visit", first), *((f"round {n}", one) for n, one in enumerate(rest, 1))):
        print(f"{name:12}{paint:12.0f}{usable:12.0f}")
    print(json.dumps(_told(first, rest)))


def _visit(browser: Browser, url: str, ready: str) -> tuple[float, float]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(url)
    page.locator(ready).wait_for()
    page.get_by_role("textbox", name="Ask your documents").wait_for()
    paint, usable = page.evaluate(f"[{PAINT}, performance.now()]")
    context.close()
    return paint, usable


def _told(first: tuple[float, float], rest: Sequence[tuple[float, float]]) -> dict[str, Any]:
    paints, usables = zip(*rest, strict=True)
    return {
        "bench": "first_paint",
        "first_visit_ms": {"paint": round(first[0]), "usable": round(first[1])},
        "paint_ms": {"median": round(median(paints)), "max": round(max(paints))},
        "usable_ms": {"median": round(median(usables)), "max": round(max(usables))},
        "rounds": len(rest),
        "wanted_ms": WANTED_MS,
        "load_1min": os.getloadavg()[0],
        "processors": os.cpu_count(),
    }


if __name__ == "__main__":
    main()
