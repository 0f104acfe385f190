"""Takes ``pipeline.png``, the image in docs/look.md, of the site that ``make viz`` has built.

Needs a Chromium:

    .venv/bin/kedro run --env smoke && make viz ENV=smoke
    .venv/bin/python docs/images/pipeline.py

It shows the nodes tagged people, labels and training, the last round opened; what only a resume or
a curve needs is hidden, and so is the comparison.
"""

import functools
import io
import json
import re
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

SITE = Path("build")
IMAGE = Path(__file__).with_suffix(".png")
QUERY = "?tags=people,labels,training"
HIDDEN = re.compile(
    r"resume_|_history$|_report$|_occlusion_sheet$|^hidden_truth$|^ignored$|^images$|^comparison"
)
OPENED = "round_2"
VIEW = {"width": 1130, "height": 1240}
CLIP = {"x": 136, "y": 10, "width": 820, "height": 1200}  # the graph, without toolbars


def main() -> None:
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(SimpleHTTPRequestHandler, directory=SITE)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    image = Image.open(io.BytesIO(screenshot(f"http://127.0.0.1:{server.server_port}/")))
    server.shutdown()
    image.convert("RGB").quantize(64).save(IMAGE, optimize=True)


def screenshot(url: str) -> bytes:
    """The graph, as PNG."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport=VIEW, device_scale_factor=2)
        page.add_init_script(f"localStorage.setItem('KedroViz', {json.dumps(json.dumps(look()))})")
        page.goto(url + QUERY)
        page.locator(".pipeline-node", has=page.get_by_text(OPENED, exact=True)).click()
        page.locator(".pipeline-node").get_by_text("correction", exact=True).wait_for()
        page.wait_for_timeout(2000)  # the graph moves to its place
        page.mouse.move(0, 0)  # off the layers, which light up
        page.wait_for_timeout(500)
        return page.screenshot(clip=CLIP)


def look() -> dict[str, object]:
    """What the page keeps between visits: theme, open panels, hidden nodes."""
    nodes = json.loads((SITE / "api" / "main").read_text())["nodes"]
    return {
        "node": {"disabled": {n["id"]: True for n in nodes if HIDDEN.search(n["name"])}},
        "nodeType": {"disabled": {"parameters": True, "task": False, "data": False}},
        "visible": {"code": False, "graph": True, "miniMap": False, "sidebar": False},
        "theme": "light",
        "showFeatureHints": False,
    }


if __name__ == "__main__":
    main()
