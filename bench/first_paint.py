"""How soon the chat page is there: first paint, and the moment at which a question can be typed.

    ./footnote ui --port 8600
    python -m bench.first_paint --url http://127.0.0.1:8600 --rounds 10 [--conversation ID] [--pid PID]

Each round is a browser without a cache, headless Chromium (CHROMIUM=PATH names another), on the server's machine. With
`--conversation` it is the reload of a stored one, until its last answer is shown. The first round after the server's
start pays for its imports and is told apart. Under 2 s is wanted on an idle machine, so the machine's load is told,
too; with `--pid`, the server's process, also the processor time that it took until either moment (Linux). The last line
is JSON; times are in milliseconds from the navigation's start.
"""

import argparse
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
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
    parser.add_argument("--pid", type=int, help="of the server")
    options = parser.parse_args()
    url = f"{options.url}/?c={options.conversation}" if options.conversation else options.url
    ready = '[data-fn-state="answered"] >> nth=-1' if options.conversation else ".fn-welcome h1"
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--headless=new", "--no-sandbox"])
        rounds = [_visit(browser, url, ready, options.pid) for _ in range(options.rounds + 1)]
        browser.close()
    first, *rest = rounds
    print(f"{'':12}{'first paint':>12}{'usable':>12}{'processor':>12}{'usable':>12}   ms")
    for name, one in (("first visit", first), *((f"round {n}", one) for n, one in enumerate(rest, 1))):
        print(f"{name:12}{one.paint:12.0f}{one.usable:12.0f}{one.paint_cpu:12.0f}{one.usable_cpu:12.0f}")
    print(json.dumps(_told(first, rest)))


@dataclass(frozen=True, slots=True)
class Visit:
    """Milliseconds until the first paint and until a question can be typed; processor time of the server until then."""

    paint: float
    usable: float
    paint_cpu: float = 0.0
    usable_cpu: float = 0.0


def _visit(browser: Browser, url: str, ready: str, pid: int | None) -> Visit:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    before = _processor_ms(pid)
    page.goto(url, wait_until="commit")
    page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
    at_paint = _processor_ms(pid)
    page.locator(ready).wait_for()
    page.get_by_role("textbox", name="Ask your documents").wait_for()
    paint, usable = page.evaluate(f"[{PAINT}, performance.now()]")
    visit = Visit(paint, usable, at_paint - before, _processor_ms(pid) - before)
    context.close()
    return visit


def _processor_ms(pid: int | None) -> float:
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") * 1000  # utime and stime


def _told(first: Visit, rest: Sequence[Visit]) -> dict[str, Any]:
    paints, usables = [one.paint for one in rest], [one.usable for one in rest]
    return {
        "bench": "first_paint",
        "first_visit_ms": {name: round(value) for name, value in asdict(first).items()},
        "paint_ms": {"median": round(median(paints)), "max": round(max(paints))},
        "usable_ms": {"median": round(median(usables)), "max": round(max(usables))},
        "usable_cpu_ms": round(median(one.usable_cpu for one in rest)),
        "rounds": len(rest),
        "wanted_ms": WANTED_MS,
        "load_1min": os.getloadavg()[0],
        "processors": os.cpu_count(),
    }


if __name__ == "__main__":
    main()
