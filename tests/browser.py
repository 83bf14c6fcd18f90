"""--view's page in Chromium, without a window: opened, asked by a few lines of script, photographed.

As a program, python3 tests/browser.py PAGE > PICTURE writes the picture that README has of its two runs: what the
page's own button saves, of four of its figures.
"""
import html
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# before the page's own script, and behind it: what went wrong and what was found is left in the page
FIRST = "<script>window.wrong = []; window.onerror = what => { wrong.push(String(what)); };</script>"
LAST = """<script>let found; try { found = (() => { %s })(); } catch (e) { wrong.push(String(e)); }
const out = document.createElement('pre'); out.id = 'found'; out.hidden = true;
out.textContent = JSON.stringify({ wrong, found }); document.body.append(out);</script></body>"""


def chromium(folder, *flags):
    return subprocess.run([BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                           f"--user-data-dir={folder}/browser", "--virtual-time-budget=2000", *flags],
                          capture_output=True, text=True, timeout=120)


def looks(width=1200, height=900, dark=False):
    return [f"--window-size={width},{height}", *(["--blink-settings=preferredColorScheme=0"] if dark else [])]


def asked(page, script, **window):
    """{"wrong": [errors], "found": what the script returns} of a page, an HTML file's text."""
    page = page.replace("<body>", "<body>" + FIRST, 1).replace("</body>", LAST % script, 1)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "page.html").write_text(page)
        printed = chromium(folder, *looks(**window), "--dump-dom", f"file://{folder}/page.html").stdout
    found = re.search(r'<pre id="found".*?>(.*?)</pre>', printed, re.DOTALL)
    if not found:
        raise AssertionError(f"the browser printed no answer: {printed[-2000:]}")
    return json.loads(html.unescape(found[1]))


def photographed(page, picture, **window):
    """A PNG file of the page in such a window; Chromium makes none narrower than 500, hence a frame."""
    size = {"width": 1200, "height": 900} | window
    with tempfile.TemporaryDirectory() as folder:
        frame = Path(folder, "frame.html")
        frame.write_text(f'<body style="margin: 0"><iframe src="file://{Path(page).resolve()}" style="border: 0" '
                         f'width="{size["width"]}" height="{size["height"]}"></iframe></body>')
        chromium(folder, *looks(**window), f"--screenshot={Path(picture).resolve()}", f"file://{frame}")


if __name__ == "__main__":
    answer = asked(Path(sys.argv[1]).read_text(), """
        const [training, depth] = groups.map(([, figures]) => figures);
        return saved([training[0], depth[0], training[1], depth[1]]);""")
    print(answer["found"])
