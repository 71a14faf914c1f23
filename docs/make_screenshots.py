"""docs/report.png: the top of a finished run's report, drawn by Chromium or Chrome without a window.

make train
python docs/make_screenshots.py output/connections
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
SIZE = "1240,1240"


def take(page: Path, picture: Path, program: str) -> None:
    """Draw the top of an HTML page into a PNG file. Raises CalledProcessError or TimeoutExpired where the browser fails."""
    with tempfile.TemporaryDirectory() as profile:
        # --no-sandbox: the page is ours and fetches nothing, and a container's root has no sandbox.
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={SIZE}"]
        flags += [f"--user-data-dir={profile}", f"--screenshot={picture}", page.as_uri()]
        subprocess.run([program, *flags], check=True, timeout=120, stderr=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a finished run, its OUTPUT")
    parser.add_argument("--picture", type=Path, default=HERE / "report.png", help="the PNG file (default: docs/report.png)")
    given = parser.parse_args()
    page = given.run.resolve() / "report.html"
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if not page.is_file():
        sys.exit(f"{page} is not there: train first.")
    if program is None:
        sys.exit(f"None of {', '.join(PROGRAMS)} is installed.")
    take(page, given.picture.resolve(), program)


if __name__ == "__main__":
    main()
