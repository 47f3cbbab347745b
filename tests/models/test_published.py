"""Published weights: fetched once, continued, verified, or refused in one sentence."""

from __future__ import annotations

import hashlib
import http.server
import threading
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest

from sshpe_lib.errors import SSHPEError
from sshpe_lib.models.published import IMAGENET, Weights, fetch

CONTENT = bytes(range(256)) * 4096  # 1 MiB
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT, with ranges; notes every request's range in the server's `ranges`."""

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.server.resumes else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start : self.server.breaks_at])

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.ranges, running.resumes, running.breaks_at = [], True, None
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join(timeout=10)


def served(server: http.server.ThreadingHTTPServer, sha256: str = DIGEST) -> Weights:
    return Weights(f"http://127.0.0.1:{server.server_port}/models/trunk.pth?v=1", sha256, "a test")


def test_fetch_downloads_once_and_verifies(server, tmp_path: Path) -> None:
    path = fetch(served(server), tmp_path / "new" / "cache")
    assert path == tmp_path / "new" / "cache" / "trunk.pth"
    assert path.read_bytes() == CONTENT
    assert fetch(served(server), path.parent) == path
    assert server.ranges == [None]
    assert not list(path.parent.glob("*.part"))


def test_fetch_verifies_by_the_prefix_in_the_name(server, tmp_path: Path) -> None:
    assert fetch(served(server, DIGEST[:8]), tmp_path).read_bytes() == CONTENT


def test_fetch_reads_a_file_address(tmp_path: Path) -> None:
    source = tmp_path / "source.pth"
    source.write_bytes(CONTENT)
    path = fetch(Weights(source.as_uri(), DIGEST, "a test"), tmp_path / "cache")
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("resumes", [True, False])
def test_fetch_continues_what_broke_off(server, tmp_path: Path, resumes: bool) -> None:
    server.breaks_at, server.resumes = 300_000, resumes
    with pytest.raises(SSHPEError, match=f"300000 of {len(CONTENT)} bytes; run again"):
        fetch(served(server), tmp_path)
    assert not (tmp_path / "trunk.pth").exists()
    server.breaks_at = None
    assert fetch(served(server), tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=300000-"]


def test_fetch_takes_a_part_that_is_already_whole(server, tmp_path: Path) -> None:
    (tmp_path / "trunk.pth.part").write_bytes(CONTENT)
    assert fetch(served(server), tmp_path).read_bytes() == CONTENT


def test_fetch_discards_a_wrong_part_and_succeeds_next_time(server, tmp_path: Path) -> None:
    (tmp_path / "trunk.pth.part").write_bytes(b"another file")
    with pytest.raises(SSHPEError, match="the download was discarded"):
        fetch(served(server), tmp_path)
    assert fetch(served(server), tmp_path).read_bytes() == CONTENT


def test_fetch_refuses_a_wrong_hash(server, tmp_path: Path) -> None:
    with pytest.raises(SSHPEError, match=f"sha256 is {DIGEST}, but http.* has 00000000"):
        fetch(served(server, "0" * 64), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] in ([], [".trunk.pth.lock"])


def test_fetch_keeps_but_refuses_a_wrong_file_put_there_by_hand(server, tmp_path: Path) -> None:
    (tmp_path / "trunk.pth").write_bytes(b"mine")
    with pytest.raises(SSHPEError, match=r"trunk\.pth.*delete it"):
        fetch(served(server), tmp_path)
    assert (tmp_path / "trunk.pth").read_bytes() == b"mine"
    assert server.ranges == []


def test_fetch_says_where_to_put_what_cannot_be_reached(tmp_path: Path) -> None:
    def unplugged(request: object, timeout: float) -> None:
        assert timeout <= 60
        raise urllib.error.URLError("no route to host")

    with pytest.raises(SSHPEError, match="no route to host") as caught:
        fetch(IMAGENET[18], tmp_path, opener=unplugged)
    assert str(tmp_path / "resnet18-5c106cde.pth") in str(caught.value)


def test_fetch_by_several_threads_downloads_once(server, tmp_path: Path) -> None:
    threads = [threading.Thread(target=fetch, args=(served(server), tmp_path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert server.ranges == [None]
    assert (tmp_path / "trunk.pth").read_bytes() == CONTENT


def test_fetch_refuses_a_cache_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(SSHPEError, match="cannot be a folder"):
        fetch(IMAGENET[18], tmp_path / "cache")


def test_fetch_refuses_a_cache_that_cannot_be_locked(server, tmp_path: Path) -> None:
    (tmp_path / ".trunk.pth.lock").mkdir()
    with pytest.raises(SSHPEError, match="cannot be a folder for weights"):
        fetch(served(server), tmp_path)
    (tmp_path / "trunk.pth").write_bytes(CONTENT)  # what is there already needs no lock
    assert fetch(served(server), tmp_path) == tmp_path / "trunk.pth" and server.ranges == []


def test_imagenet_files_carry_their_hash_in_their_name() -> None:
    assert sorted(IMAGENET) == [18, 34, 50, 101, 152]
    for depth, weights in IMAGENET.items():
        assert weights.name == f"resnet{depth}-{weights.sha256}.pth"


@pytest.mark.parametrize("sha256", ["", "5c106c", "Z" * 64, DIGEST.upper()])
def test_a_hash_that_verifies_nothing_is_refused(sha256: str) -> None:
    with pytest.raises(SSHPEError, match="hex"):
        Weights("http://127.0.0.1/file.pth", sha256, "a test")
