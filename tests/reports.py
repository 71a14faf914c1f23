"""What the tests of a run's report share: the sentence that tries to be a script, and what a page holds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

HOSTILE = '</script><script>document.title = "taken over"</script><b>a cat</b> & \u2028'


def data_of(page: str) -> dict[str, Any]:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def read_page(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")
