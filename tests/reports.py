"""What the tests of a run's report share: the sentence that tries to be a script, and what a page holds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

HOSTILE = '</script><script>document.title = "taken over"</script><b>a cat</b> & \u2028'

SETTLED = """
const [done] = arguments, begun = performance.now();
const look = () => {
  const width = document.documentElement.scrollWidth;
  if (width <= 390 || performance.now() - begun > 10_000) done(width);
  else requestAnimationFrame(look);
};
requestAnimationFrame(() => requestAnimationFrame(look));
"""


def data_of(page: str) -> dict[str, Any]:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def asked_for(browser: Any, page: str) -> list[str]:
    """The addresses that a page has asked for since the log was last read; not those of the browser's own pages."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [message["params"] for message in messages if message["method"] == "Network.requestWillBeSent"]
    return [params["request"]["url"] for params in sent if params["documentURL"] == page]


def read_page(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def width_on_a_phone(browser: Any) -> int:
    """How wide the page in the browser is where the window is 390 pixels wide, once its charts have followed (ten seconds)."""
    phone = {"width": 390, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    width = browser.execute_async_script(SETTLED)
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    return width
