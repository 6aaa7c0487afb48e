"""The page in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, of Debian's package chromium")

FIRST = """<script>
window.wrong = [];
addEventListener("error", (event) => wrong.push(String(event.message)));
document.addEventListener("securitypolicyviolation", (event) => wrong.push(event.blockedURI));
</script>"""

LAST = """<script>
const table = document.getElementById("tensor-table");
const rows = () => [...table.tBodies[0].rows];
const names = () => rows().filter((row) => !row.hidden).map((row) => row.cells[0].textContent);
const heads = [...table.tHead.rows[0].cells];
const column = (title) => heads.findIndex((head) => head.textContent === title);
const button = (title) => heads[column(title)].querySelector("button");
const cells = (title) => rows().map((row) => row.cells[column(title)].dataset.value);
const found = { before: names() };
button("threshold").click();
found.rising = cells("threshold");
button("threshold").click();
found.falling = cells("threshold");
search.value = "scores";
search.dispatchEvent(new Event("input"));
found.searched = names();
const link = table.querySelector("tbody tr:not([hidden]) a");
location.hash = link.getAttribute("href");
addEventListener("hashchange", () => {
  found.opened = [...document.querySelectorAll(".tensor")]
    .filter((one) => getComputedStyle(one).display !== "none")
    .map((one) => one.querySelector("h3").textContent);
  found.requests = performance.getEntriesByType("resource").map((entry) => entry.name);
  found.width = document.documentElement.scrollWidth - innerWidth;
  found.wrong = wrong;
  const result = document.createElement("pre");
  result.id = "found";
  result.textContent = JSON.stringify(found);
  document.body.append(result);
});
</script>"""


def browse(page: Path, folder: Path, width: int) -> Any:
    """Use the page as a person would; what was seen."""
    html = page.read_text().replace("<head>", "<head>" + FIRST).replace("</body>", LAST + "</body>")
    copy = folder / "page.html"
    copy.write_text(html)
    command = [
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={folder / 'profile'}",
    ]
    command += [f"--window-size={width},900", "--virtual-time-budget=3000", "--dump-dom", copy.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)  # noqa: S603
    match = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert match is not None, done.stdout[-2000:]
    return json.loads(unescape(match[1]))


@pytest.mark.parametrize("width", [1280, 500])
def test_it_sorts_searches_and_opens_without_an_error_or_a_request(
    page: Path, tmp_path: Path, width: int
) -> None:
    found = browse(page, tmp_path, width)
    assert found["wrong"] == []
    assert found["requests"] == []
    assert len(found["before"]) > 3
    rising = [float(value) for value in found["rising"] if value]
    assert rising == sorted(rising)
    assert [float(value) for value in found["falling"] if value] == rising[::-1]
    assert found["searched"] == ["scores"]
    assert found["opened"] == ["scores"]
    assert found["width"] <= 0  # the page itself does not scroll sideways
