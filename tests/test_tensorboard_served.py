"""Runs in a real TensorBoard, asked over HTTP, and looked at in a real browser where one is installed."""

import io
import json
import re
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from forked import run_forked
from PIL import Image

from maskkit.labels import CLASS_NAMES

pytestmark = pytest.mark.slow

PATIENCE = 60  # seconds
BROWSER, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
QUIET = ["no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"]
QUIET += ["disable-component-update", "disable-sync", "headless", "window-size=1600,3000"]
# Elements keep their text in trees of their own, which the page's innerText leaves out.
ALL_TEXT = """
const texts = [];
const walk = (node) => {
  if (node.nodeType === Node.TEXT_NODE) texts.push(node.data.trim());
  if (node.shadowRoot) walk(node.shadowRoot);
  if (!["STYLE", "SCRIPT", "TEMPLATE"].includes(node.nodeName)) node.childNodes.forEach(walk);
};
walk(document.body);
return texts.join(" ");
"""


@pytest.fixture(scope="module")
def runs(environment: dict[str, str], train_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of different tasks and flags, in the folder that --logdir names."""
    folder = tmp_path_factory.mktemp("runs")
    usual = (f"--data_dir={train_images}", f"--model_dir={folder}", "--epochs=2", "--resize=32", "--num_workers=0")
    for flags in (["--name=all", "--lr=0.002"], ["--name=mask", "--classification=mask", "--clip_norm=1.5"]):
        done = run_forked(folder, "train", *usual, *flags, env=environment)
        assert done.code == 0, done.err
    return folder


@pytest.fixture(scope="module")
def address(runs: Path) -> Iterator[str]:
    """The address of a TensorBoard that has read both runs."""
    words = [sys.executable, "-m", "tensorboard.main", "--logdir", str(runs), "--port=0", "--host=127.0.0.1"]
    with started(words, r"http://127\.0\.0\.1:\d+") as found:
        assert eventually(lambda: len(ask(f"{found}/data/plugin/images/tags")) == 2)
        yield found


@contextmanager
def started(words: list[str], announcement: str) -> Iterator[str]:
    """Start a server, yield what it says of its place, and stop it."""
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        assert server.stdout is not None
        try:
            found = next(filter(None, (re.search(announcement, line) for line in server.stdout)))
            yield found[0]
        finally:
            server.terminate()


def eventually(holds: Callable[[], bool]) -> bool:
    """Ask again until it holds; return whether it ever did."""
    until = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.5)
    return True


def fetch(url: str, body: object = None, method: str | None = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)  # noqa: S310  ours
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310  ours
        content: bytes = answer.read()
    return content


def ask(url: str, body: object = None) -> Any:
    return json.loads(fetch(url, body))


def query(**words: str) -> str:
    return urllib.parse.urlencode(words)


def test_curves_have_the_same_names_in_all_runs(address: str) -> None:
    tags = ask(f"{address}/data/plugin/scalars/tags")
    assert set(tags) == {"all/tensorboard", "mask/tensorboard"}
    every, mask = (set(tags[f"{name}/tensorboard"]) for name in ("all", "mask"))
    assert {"valid/f1_macro", "valid/loss", "train/loss", "run/lr", "step/loss", "best/f1_macro"} <= every & mask
    assert {name for name in every if name.startswith("f1/")} == {f"f1/{name}" for name in CLASS_NAMES}
    assert mask - every == {"f1/wear", "f1/incorrect", "f1/normal"}


def test_images_are_those_of_the_best_epoch(address: str, runs: Path) -> None:
    tags = ask(f"{address}/data/plugin/images/tags")
    best = pd.read_csv(runs / "all" / "metrics.csv")["valid_f1_macro"].argmax()
    for tag in ("best/confusion", "best/mistakes"):
        assert tag in tags["all/tensorboard"]
        place = query(run="all/tensorboard", tag=tag, sample="0")
        (shown,) = ask(f"{address}/data/plugin/images/images?{place}")
        assert shown["step"] == best
        content = fetch(f"{address}/data/plugin/images/individualImage?{shown['query']}")
        with Image.open(io.BytesIO(content)) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 300


def test_flags_stand_beside_the_best_figures(address: str, runs: Path) -> None:
    """The columns are asked for with the filters that the page sends, at which texts among numbers would fail."""
    experiment = ask(f"{address}/data/plugin/hparams/experiment", {"experimentName": ""})
    infinite = {"minValue": "-Infinity", "maxValue": "Infinity"}
    filters: dict[str, Any] = {"FLOAT64": {"filterInterval": infinite}, "STRING": {"filterRegexp": ""}}
    kinds = {info["name"]: info["type"].removeprefix("DATA_TYPE_") for info in experiment["hparamInfos"]}
    columns = [{"hparam": name, **filters[kind]} for name, kind in kinds.items()]
    metrics = [{"metric": info["name"]} for info in experiment["metricInfos"]]
    statuses = [f"STATUS_{name}" for name in ("SUCCESS", "FAILURE", "RUNNING", "UNKNOWN")]
    groups = {"experimentName": "", "allowedStatuses": statuses, "colParams": columns + metrics, "sliceSize": 9}
    found = ask(f"{address}/data/plugin/hparams/session_groups", groups)["sessionGroups"]
    values = {group["sessions"][0]["name"]: group["hparams"] for group in found}
    assert values["all/tensorboard"]["lr"] == 0.002
    assert values["mask/tensorboard"]["clip_norm"] == 1.5
    assert "clip_norm" not in values["all/tensorboard"]
    for group in found:
        (session,) = group["sessions"]
        assert session["status"] == "STATUS_SUCCESS"
        figures = {figure["name"]["tag"]: figure["value"] for figure in group["metricValues"]}
        table = pd.read_csv(runs / Path(session["name"]).parent / "metrics.csv")
        best = table.loc[table["valid_f1_macro"].argmax()]
        by_hand = {"f1_macro": best["valid_f1_macro"], "accuracy": best["valid_accuracy"], "loss": best["valid_loss"]}
        assert figures == pytest.approx({f"best/{name}": value for name, value in by_hand.items()}, rel=1e-5)


def test_the_plan_is_a_table(address: str, runs: Path) -> None:
    place = query(run="all/tensorboard", tag="plan/text_summary")
    (plan,) = ask(f"{address}/data/plugin/text/text?{place}")
    cells = re.findall(r"<td[^>]*>(?:<strong>)?(.*?)(?:</strong>)?</td>", plan["text"])
    table = dict(zip(cells[::2], cells[1::2], strict=True))
    assert table["run"] == str(runs / "all")
    assert "18 classes" in table["learn"]


@contextmanager
def browser(folder: Path) -> Iterator[str]:
    """Start a browser with a profile of its own and yield the address of its session, a WebDriver's."""
    assert DRIVER is not None
    with started([DRIVER, "--port=0"], r"successfully on port \d+") as found:
        driver = f"http://127.0.0.1:{found.split()[-1]}/session"
        options = {"binary": BROWSER, "args": [*(f"--{word}" for word in QUIET), f"--user-data-dir={folder}"]}
        wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        session = f"{driver}/{ask(driver, wanted)['value']['sessionId']}"
        try:
            yield session
        finally:
            fetch(session, method="DELETE")


@pytest.mark.skipif(not (BROWSER and DRIVER), reason="no chromium with its chromedriver is installed")
def test_people_see_curves_flags_images_and_the_plan(address: str, tmp_path: Path) -> None:
    pages = {
        "timeseries": ["all/tensorboard", "mask/tensorboard", "best/f1_macro", "best/confusion", "best/mistakes"],
        "scalars": ["best/f1_macro", "f1/incorrect female old"],
        "images": ["best/confusion", "best/mistakes"],
        "hparams": ["all/tensorboard", "mask/tensorboard", "batch_size", "cross_entropy", "best/f1_macro", "0.0020000"],
        "text": ["plan/text_summary", "MaskSplitByProfileDataset", "18 classes"],
    }
    with browser(tmp_path / "profile") as session:
        for page, expected in pages.items():
            for url in ("about:blank", f"{address}/#{page}"):
                ask(f"{session}/url", {"url": url})
            assert eventually(partial(shows, session, expected)), f"{page} lacks one of {expected}"


def shows(session: str, expected: list[str]) -> bool:
    """Return whether all these texts are on the page; names may be broken where a line may end."""
    text = ask(f"{session}/execute/sync", {"script": ALL_TEXT, "args": []})["value"]
    plain = "".join(text.split())
    return all("".join(words.split()) in plain for words in expected)
