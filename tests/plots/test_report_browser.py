"""A report in a real browser, at the width of a desk and of a phone, without a network."""

import json
import re
import shutil
import subprocess

import pytest

pytest.importorskip("matplotlib")

from waterbg.plots.report import draw_report, find
from waterbg.plots.report_words import doubts

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")

# asked of a copy of the page: its own policy would not let a script run
SCRIPT = """<script>addEventListener("load", () => {
  const wide = innerWidth, out = [], small = [], cut = [];
  for (const one of document.body.querySelectorAll("*")) {
    const box = one.getBoundingClientRect();
    if (!one.closest(".scroll > *") && (box.right > wide + 0.5 || box.left < -0.5))
      out.push(one.tagName + "." + one.className);
  }
  for (const one of document.querySelectorAll("figure svg"))
    for (const word of one.querySelectorAll("g[id*=text_]")) {
      const box = word.getBoundingClientRect(), frame = one.getBoundingClientRect();
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1
          || box.bottom > frame.bottom + 1) cut.push(word.id);
    }
  for (const one of document.querySelectorAll(".pair svg, .three svg"))
    for (const word of one.querySelectorAll("g[id*=xtick] g[id*=text_]"))
      small.push(word.getBoundingClientRect().height);
  const axes = [];
  for (const one of document.querySelectorAll("figure svg")) {
    const ticks = [...one.querySelectorAll("g[id*=xtick] g[id*=text_]")].map(word => word.getBoundingClientRect());
    for (let i = 1; i < ticks.length; i++)
      if (ticks[i].left < ticks[i - 1].right && ticks[i].right > ticks[i - 1].left
          && Math.abs(ticks[i].top - ticks[i - 1].top) < 5) axes.push(one.getAttribute("aria-label"));
  }
  parent.postMessage(JSON.stringify({
    width: wide, page: document.documentElement.scrollWidth, out, cut, touching: axes, smallest: Math.min(...small),
    figures: document.querySelectorAll("figure").length,
    broken: [...document.images].filter(one => !one.naturalWidth).length,
    loaded: performance.getEntriesByType("resource").filter(one => !one.name.startsWith("data:")).length,
  }), "*");
});</script>"""


# a window is never narrower than 500 px, a frame within it may be
FRAME = """<!DOCTYPE html><title>waiting</title><script>
addEventListener("message", event => { document.title = event.data; });</script>
<iframe src="page.html" style="width: WIDTHpx; height: 2000px; border: 0"></iframe>"""


def look(text, folder, width):
    """What the browser makes of a page: the answers of SCRIPT."""
    without = re.sub(r"<meta http-equiv=.Content-Security-Policy[^>]*>", "", text)
    assert without != text
    path = folder / "page.html"
    path.write_text(without.replace("</head>", f"{SCRIPT}</head>"))
    frame = folder / "frame.html"
    frame.write_text(FRAME.replace("WIDTH", str(width)))
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
         f"--user-data-dir={folder / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND",
         "--window-size=1400,2100", "--virtual-time-budget=10000", "--dump-dom", frame.as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(re.search(r"<title>(\{.*?\})</title>", done.stdout)[1])


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_overflows_or_is_cut_off(page, tmp_path, width):
    seen = look(page, tmp_path, width)
    assert seen["width"] == width
    assert seen["page"] <= width
    assert seen["out"] == []
    assert seen["cut"] == []
    assert seen["touching"] == []
    assert seen["smallest"] > 5  # px, of the figures' smallest digits
    assert seen["figures"] == page.count("<figure") >= 12
    assert seen["broken"] == seen["loaded"] == 0


def test_an_overflow_would_be_seen(page, tmp_path):
    wide = page.replace("<h1>", '<div style="width: 600px">x</div><h1>', 1)
    seen = look(wide, tmp_path, 390)
    assert seen["page"] > 390
    assert seen["out"] == ["DIV."]


def test_long_names_do_not_make_the_page_wider(stream, subtracted, tmp_path):
    paths = []
    for path in (stream, subtracted):
        with open(path, "rb") as file:
            text = file.read().replace(b"images.h5", b"i" * 150 + b".h5")
        paths.append(tmp_path / f"{'x' * 120}{len(paths)}.stream")
        paths[-1].write_bytes(text)
    page = draw_report(find(*map(str, paths))).decode()
    seen = look(page, tmp_path, 390)
    assert seen["page"] <= 390
    assert seen["out"] == []


@pytest.mark.shared
@pytest.mark.parametrize("name", ["thaumatin", "thermolysin"])
def test_reports_on_real_data_are_right_and_fit(name, shared, tmp_path):
    from waterbg.cli.base import run

    before, after = shared / "real" / name / "rings-nocen-nosat-nograd.stream", tmp_path / "out.stream"
    assert run(["waterbg", "subtract", str(before), "-o", str(after)]) == 0
    findings = find(str(before), str(after))
    assert doubts(findings) == []
    assert findings.sample.read
    assert findings.sample.differ == 0
    assert 3.0 < 10 / findings.ring.inv_d < 3.8
    page = draw_report(findings).decode()
    for width in (1280, 390):
        seen = look(page, tmp_path, width)
        assert seen["page"] <= width
        assert seen["out"] == seen["cut"] == seen["touching"] == []
