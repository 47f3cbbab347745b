"""The book: built from the committed records without a warning, complete in itself, at home in a browser."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import yaml

from tests import browser, disks
from tests.test_kill import KILLS

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
MATHJAX_SHA256 = "d4295dc33744836935c1399feece5159577b34c5c8ffb9f1c6324cd82e03a882"  # npm, mathjax 3.2.2
PATIENCE = 900  # on a machine that does other work

# Elements whose address a browser fetches by itself, and <link>s that it does not fetch.
FETCHED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "object": "data"}
BROKEN_IMAGES = "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
# How many pages the search finds, once it says so.
FOUND = """
new Promise(done => {
  const look = () => {
    const told = document.querySelector(".search-summary")?.textContent.match(/found (\\d+) page/);
    told ? done(Number(told[1])) : setTimeout(look, 50);
  };
  setTimeout(() => done(0), 20000);
  look();
})
"""
ONLY_NAMED = {"canonical", "next", "prev", "author", "index", "search", "copyright"}


def start(book: Path, output: Path, *flags: str, **variables: str) -> subprocess.Popen:
    """A build at work, in a group of processes of its own."""
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    command = [str(jupyter_book), "build", str(book), "--path-output", str(output), *flags]
    unset = ("SSHPE_DATA", "SSHPE_TRAINING", "SSHPE_REPOSITORY_URL", "SSHPE_REPOSITORY_DEFAULT_BRANCH")
    environment = {k: v for k, v in os.environ.items() if k not in unset} | {"NO_COLOR": "1"} | variables
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, env=environment, start_new_session=True, **pipes)


def kill(process: subprocess.Popen, by: int = signal.SIGKILL) -> None:
    with suppress(ProcessLookupError):  # it had ended
        os.killpg(process.pid, by)
    process.communicate()


def build(book: Path, output: Path, *flags: str, **variables: str) -> subprocess.CompletedProcess:
    process = start(book, output, *flags, **variables)
    try:
        told = process.communicate(timeout=PATIENCE)
    except BaseException:  # too slow, or interrupted from the keyboard
        kill(process)
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, *told)


def pages_of(book: Path) -> list[str]:
    toc = yaml.safe_load((book / "_toc.yml").read_text())
    return [toc["root"], *(c["file"] for part in toc.get("parts", []) for c in part["chapters"])]


class Elements(HTMLParser):
    """The opening tags of a page with their attributes."""

    def __init__(self, page: Path):
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))


def words_of(page: Path) -> list[str]:
    """What a page says, and its pictures by their alternative text."""
    return re.sub(r'<(?:img[^>]*alt="([^"]*)")?[^>]*>', r" \1 ", page.read_text()).split()


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built book."""
    output = tmp_path_factory.mktemp("book")
    built = build(BOOK, output, "-W", "--keep-going")
    assert built.returncode == 0, f"{built.stdout[-3000:]}\n{built.stderr[-3000:]}"
    return output / "_build" / "html"


@pytest.mark.kernel
def test_every_page_of_the_table_of_contents_is_there(html: Path) -> None:
    for page in pages_of(BOOK):
        text = (html / f"{page}.html").read_text()
        assert "<h1>" in text
        assert 'class="system-message' not in text and "Traceback (most recent" not in text


@pytest.mark.kernel
def test_nothing_is_fetched_from_another_host(html: Path) -> None:
    outside = []
    for page in html.rglob("*.html"):
        for tag, attributes in Elements(page).found:
            address = attributes.get(FETCHED.get(tag, ""), "")
            named = tag == "link" and set(attributes.get("rel", "").split()) <= ONLY_NAMED
            if re.match(r"(https?:)?//", address) and not named:
                outside.append(f"{page.name}: <{tag}> {address}")
    for sheet in html.rglob("*.css"):
        text = sheet.read_text()
        outside += [f"{sheet.name}: {u}" for u in re.findall(r"url\(\s*[\"']?((?:https?:)?//[^)]*)", text)]
        outside += [f"{sheet.name}: {u}" for u in re.findall(r"@import\s+[\"']((?:https?:)?//[^\"']*)", text)]
    assert not outside


@pytest.mark.kernel
def test_every_image_has_a_text(html: Path) -> None:
    images = [
        (page, attributes)
        for page in html.rglob("*.html")
        for tag, attributes in Elements(page).found
        if tag == "img"
    ]
    assert len({attributes["src"] for _, attributes in images}) >= 3
    # Without one, Sphinx writes the file's name.
    poor = [
        f"{page.name}: {a['src']}"
        for page, a in images
        if len(a.get("alt", "")) < 5 or re.search(r"\.(png|jpe?g|svg)$", a["alt"])
    ]
    assert not poor, "an alt text belongs in the cell's metadata, mystnb.image.alt"


@pytest.mark.kernel
def test_every_link_inside_the_book_leads_somewhere(html: Path) -> None:
    for page in [html / f"{name}.html" for name in pages_of(BOOK)]:
        for tag, attributes in Elements(page).found:
            target = attributes.get("href", "").split("#")[0].split("?")[0]
            if tag == "a" and target and "://" not in target and not target.startswith("mailto:"):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.fixture(scope="module")
def address(html: Path) -> Iterator[str]:
    """The address of a server of the built book on this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(html))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def chromium() -> str:
    """The path of a Chromium; the test is skipped where there is none."""
    path = browser.find()
    if path is None:
        pytest.skip(f"no Chromium here (looked for {', '.join(browser.NAMES)}); apt-get install chromium")
    return path


@pytest.mark.kernel
@pytest.mark.browser
def test_in_a_browser(address: str, chromium: str, tmp_path: Path) -> None:
    with browser.Browser(chromium, tmp_path) as tab:
        for page in pages_of(BOOK):
            for width in (1400, 390):
                visit = tab.open(f"{address}/{page}.html", width)
                tab.evaluate("window.MathJax?.startup?.promise")
                where = f"{page} at {width} pixels"
                assert not visit.errors, f"{where}: {visit.errors}"
                outside = [u for u in visit.requests if not u.startswith((address, "data:"))]
                assert not outside, f"{where}: {outside}"
                assert tab.evaluate("document.documentElement.scrollWidth") <= width, where
                assert tab.evaluate(BROKEN_IMAGES) == [], where
                formulas = tab.evaluate("document.querySelectorAll('.math').length")
                assert formulas == tab.evaluate("document.querySelectorAll('.math svg').length"), where
                assert formulas > 0 or page != "pose_mum"


@pytest.mark.kernel
@pytest.mark.browser
def test_it_is_searched_and_printed_in_a_browser(address: str, chromium: str, tmp_path: Path) -> None:
    with browser.Browser(chromium, tmp_path) as tab:
        visit = tab.open(f"{address}/search.html?q=heatmap", 1400)
        assert tab.evaluate(FOUND) > 3 and not visit.errors
        tab.open(f"{address}/pose_mum.html", 1400)
        assert tab.evaluate("[...document.querySelectorAll('button')].some(b => /print/i.test(b.outerHTML))")
        tab.evaluate("window.MathJax?.startup?.promise")
        paper = tab.pdf()
        assert paper.startswith(b"%PDF-") and len(paper) > 100_000


def small_book(folder: Path, cell: str) -> Path:
    """A book of one page that runs `cell`, with the configuration of the real one."""
    for name in ("_config.yml", "logo.svg", "references.bib"):
        shutil.copy(BOOK / name, folder)
    shutil.copytree(BOOK / "ext", folder / "ext", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "_extra").mkdir()
    (folder / "_toc.yml").write_text("format: jb-book\nroot: index\n")
    front = (BOOK / "index.md").read_text().partition("\n# ")[0]
    (folder / "index.md").write_text(f"{front}\n# Page\n\n```{{code-cell}} ipython3\n{cell}\n```\n")
    return folder


@pytest.mark.kernel
def test_a_page_runs_again_when_a_record_changes(tmp_path: Path) -> None:
    show = "from sshpe_lib import paths\nprint('saw', *sorted(p.stem for p in paths.records().iterdir()))"
    (tmp_path / "book" / "records").mkdir(parents=True)
    book, output = small_book(tmp_path / "book", show), tmp_path / "output"
    page = output / "_build" / "html" / "index.html"

    (book / "records" / "first.json").write_text("{}")
    built = build(book, output, "-W")
    assert built.returncode == 0, built.stderr
    assert "saw first" in page.read_text()

    written = page.stat().st_mtime_ns
    assert build(book, output, "-W").returncode == 0
    assert page.stat().st_mtime_ns == written, "nothing changed, and the page ran again"

    (book / "records" / "second.json").write_text("{}")
    assert build(book, output, "-W").returncode == 0
    assert "saw first second" in page.read_text()


@pytest.mark.kernel
def test_a_published_book_links_to_its_repository(tmp_path: Path) -> None:
    """Edits go to the default branch, launches to the tag, and those of a notebook to its own folder."""
    (tmp_path / "book").mkdir()
    book, html = small_book(tmp_path / "book", "print(1)"), tmp_path / "output" / "_build" / "html"
    (tmp_path / "notebooks").mkdir()
    cells = [nbformat.v4.new_markdown_cell("# One"), nbformat.v4.new_code_cell("print(2)")]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(
        nbformat.v4.new_notebook(metadata=kernel, cells=cells), tmp_path / "notebooks" / "one.ipynb"
    )
    (book / "notebooks").symlink_to("../notebooks")
    (book / "_toc.yml").write_text(
        "format: jb-book\nroot: index\nparts:\n  - chapters:\n      - file: notebooks/one\n"
    )
    with (book / "index.md").open("a") as index:
        index.write("\nMove {launch}`notebooks/two.ipynb` yourself.\n")

    def links(page: str) -> list[str]:
        found = Elements(html / f"{page}.html").found
        return [a["href"] for tag, a in found if tag == "a" and "://" in a.get("href", "")]

    assert build(book, tmp_path / "output", "-W").returncode == 0
    assert not any("somebody/sshpe" in link or "mybinder" in link for link in links("index"))
    assert ">notebooks/two.ipynb<" in re.sub("</?span[^>]*>", "", (html / "index.html").read_text())

    url = "https://github.com/somebody/sshpe"
    repository = {"URL": f"{url}/", "BRANCH": "v1", "DEFAULT_BRANCH": "trunk"}
    variables = {f"SSHPE_REPOSITORY_{name}": value for name, value in repository.items()}
    built = build(book, tmp_path / "output", "-W", "--all", **variables)
    assert built.returncode == 0, built.stderr
    binder = "https://mybinder.org/v2/gh/somebody/sshpe/v1?urlpath=lab/tree"
    assert {f"{url}/edit/trunk/book/index.md", f"{binder}/book/index.md"} <= set(links("index"))
    assert f"{binder}/notebooks/two.ipynb" in links("index")
    colab = "https://colab.research.google.com/github/somebody/sshpe/blob/v1"
    expected = {f"{url}/edit/trunk/notebooks/one.ipynb"}
    expected |= {f"{place}/notebooks/one.ipynb" for place in (binder, colab)}
    assert expected <= set(links("notebooks/one"))
    assert not any("book/notebooks" in link for link in links("notebooks/one"))


@pytest.mark.kernel
def test_a_missing_record_stops_the_build_and_names_the_command(tmp_path: Path) -> None:
    cell = "from sshpe_lib.study import study\nstudy('table4', 'smoke')"
    built = build(small_book(tmp_path, cell), tmp_path / "output")
    assert built.returncode != 0
    assert "training is forbidden" in built.stderr and "sshpe run table4 --profile smoke" in built.stderr


@pytest.fixture(scope="module")
def watch():
    """The module book/ext/watch.py."""
    spec = importlib.util.spec_from_file_location("watch", BOOK / "ext" / "watch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_are_made_of_records_whatever_data_there_is(watch, tmp_path: Path, monkeypatch) -> None:
    """The files of whoever builds the book may be others than the records were trained on."""
    for name in ("SSHPE_DATA", "SSHPE_RECORDS", "SSHPE_TRAINING", "TQDM_DISABLE"):
        monkeypatch.setenv(name, "elsewhere")
    watch._prepare_kernels(SimpleNamespace(srcdir=tmp_path))
    assert "SSHPE_DATA" not in os.environ and os.environ["SSHPE_TRAINING"] == "forbidden"
    assert os.environ["SSHPE_RECORDS"] == str(tmp_path / "records")


def test_watched_files_decide_by_name_and_content(watch, tmp_path: Path) -> None:
    (tmp_path / "book" / "records").mkdir(parents=True)
    (tmp_path / "params").mkdir()
    book, watched = tmp_path / "book", {"notebooks/*": ["records/*.json"], "profiles": ["../params/*.yaml"]}
    pages = {"index", "profiles", "notebooks/table4"}
    one = book / "records" / "one.json"
    one.write_text("1")

    def stale_after(before: dict[str, str]) -> list[str]:
        return watch.stale_pages(pages, before, watch.digests(book, watched))

    first = watch.digests(book, watched)
    assert stale_after({}) == ["notebooks/table4", "profiles"]
    assert stale_after(first) == []
    one.write_text("2")
    assert stale_after(first) == ["notebooks/table4"]
    one.write_text("1")
    assert stale_after(first) == []
    one.rename(one.with_name("other.json"))
    assert stale_after(first) == ["notebooks/table4"]
    (tmp_path / "params" / "table4.yaml").touch()
    assert stale_after(first) == ["notebooks/table4", "profiles"]


def test_every_watched_pattern_names_pages_and_files() -> None:
    watched = yaml.safe_load((BOOK / "_config.yml").read_text())["sphinx"]["config"]["watched_files"]
    pages = pages_of(BOOK)
    for pattern, globs in watched.items():
        assert any(Path(page).match(pattern) for page in pages), pattern
        assert any(list(BOOK.glob(one)) for one in globs), globs


def test_a_page_that_reads_a_file_of_the_book_is_run_again_with_it() -> None:
    watched = yaml.safe_load((BOOK / "_config.yml").read_text())["sphinx"]["config"]["watched_files"]
    read = {
        (page, f"{folder}/{file}")
        for page in pages_of(BOOK)
        if (BOOK / page).with_suffix(".md").exists()
        for folder, file in re.findall(
            r'"(measured|trials)" / "(.*?)"', (BOOK / page).with_suffix(".md").read_text()
        )
    }
    assert len(read) >= 6
    for page, file in read:
        globs = [one for pattern, some in watched.items() if Path(page).match(pattern) for one in some]
        assert any(Path(file).match(one) for one in globs), (page, file)


def test_what_the_quickstart_uses_is_in_the_library_page() -> None:
    listed = (BOOK / "api.md").read_text()
    cells = nbformat.read(BOOK / "notebooks" / "quickstart.ipynb", 4).cells
    tree = ast.parse("\n".join(cell.source for cell in cells if cell.cell_type == "code"))
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    ours = {name.name: node.module for node in imported for name in node.names if "sshpe_lib" in node.module}
    used = [
        (node.value.id, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ours
    ]
    assert ("sources", "own") in used and ours["Machine"] == "sshpe_lib.machine"
    names = {name for name in ours if name[0].isupper()} | {attribute for _, attribute in used} | {"build"}
    assert [name for name in names | {"SSHPEError"} if not re.search(rf"\b{name}\b", listed)] == []


def test_mathjax_is_the_published_file() -> None:
    folder = BOOK / "_extra" / "mathjax"
    assert hashlib.sha256((folder / "tex-svg.js").read_bytes()).hexdigest() == MATHJAX_SHA256
    assert "Apache License" in (folder / "LICENSE").read_text()


def test_notebooks_are_the_folder_itself() -> None:
    assert (BOOK / "notebooks").is_symlink() and os.readlink(BOOK / "notebooks") == "../notebooks"


@pytest.fixture(scope="module")
def short_book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A book of two pages of the whole one, a text with cells and a notebook."""
    root = tmp_path_factory.mktemp("short")
    (root / "book").mkdir()
    for folder, omitted in ((ROOT, "book"), (BOOK, "_toc.yml")):
        for path in folder.iterdir():
            if path.name != omitted and path.name[0] != ".":
                (root / path.relative_to(ROOT)).symlink_to(path)
    toc = {"format": "jb-book", "root": "profiles", "chapters": [{"file": "notebooks/figure1"}]}
    (root / "book" / "_toc.yml").write_text(yaml.safe_dump(toc))
    return root / "book"


@pytest.fixture(scope="module")
def undisturbed(short_book: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The folder of the short book's pages, built by nobody disturbed, and the seconds that it takes."""
    for _ in range(2):  # the first takes longer than any later one
        output, begin = tmp_path_factory.mktemp("undisturbed"), time.monotonic()
        built = build(short_book, output)
        assert built.returncode == 0, f"{built.stdout[-3000:]}\n{built.stderr[-3000:]}"
    return output / "_build" / "html", time.monotonic() - begin


def assert_same_pages(html: Path, book: Path, output: Path, *flags: str) -> None:
    """A build of the book into `output`, whatever is there, succeeds and has the pages of `html`."""
    built = build(book, output, *flags)
    assert built.returncode == 0, f"{built.stdout[-3000:]}\n{built.stderr[-3000:]}"
    again = output / "_build" / "html"
    pages = {page.relative_to(html) for page in html.rglob("*.html")}
    assert pages == {page.relative_to(again) for page in again.rglob("*.html")}
    assert [str(page) for page in sorted(pages) if words_of(html / page) != words_of(again / page)] == []


nightly = pytest.mark.skipif(
    KILLS < 50, reason="takes several builds of the book; the nightly job kills it (SSHPE_KILLS)"
)


@nightly
def test_a_build_that_is_killed_ends_with_the_same_pages(html, tmp_path):
    rng = random.Random(0)
    for _ in range(4):
        process = start(BOOK, tmp_path, "-W", "--keep-going")
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=rng.uniform(5, 60))
        kill(process)
    assert_same_pages(html, BOOK, tmp_path, "-W", "--keep-going")


@nightly
def test_a_short_book_that_is_killed_ends_with_the_same_pages(short_book, undisturbed, tmp_path):
    (html, seconds), rng, codes = undisturbed, random.Random(0), []
    for number in range(5):
        for by in (signal.SIGTERM, signal.SIGKILL):
            process = start(short_book, tmp_path / str(number))
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=rng.uniform(0, seconds))
            kill(process, by)
            codes.append(process.returncode)
        assert_same_pages(html, short_book, tmp_path / str(number))
    assert sum(code < 0 for code in codes) >= 3, codes  # one that comes after the end proves nothing


@pytest.mark.skipif("SSHPE_MOUNTS" not in os.environ, reason="the nightly job mounts disks (SSHPE_MOUNTS)")
@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_a_short_book_goes_on_when_its_disk_takes_files_again(short_book, undisturbed, tmp_path, fault):
    (html, seconds), place = undisturbed, tmp_path / "disk"
    with disks.small_disk(place, "2m" if fault == "full" else "64m"):
        process = start(short_book, place)
        if fault == "read-only":
            time.sleep(seconds / 2)
            disks.freeze(place)
        try:
            process.communicate(timeout=PATIENCE)
        finally:
            kill(process)
            disks.thaw(place) if fault == "read-only" else disks.remount(place, "size=64m")
        assert process.returncode
        assert_same_pages(html, short_book, place)
