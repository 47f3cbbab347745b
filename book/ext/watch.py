"""Runs a page again when a file that it shows has changed, and keeps the book from training.

Sphinx reads a page again when its source changes; a page of this book also shows records, profiles and
pictures that code draws. `watched_files` in _config.yml names them by page.
"""

from __future__ import annotations

import hashlib
import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


def digests(source: Path, watched: dict[str, list[str]]) -> dict[str, str]:
    """For every pattern of pages, a hash of the names and contents of its files; globs start at `source`."""
    return {pages: _digest(source, globs) for pages, globs in watched.items()}


def _digest(source: Path, globs: list[str]) -> str:
    total = hashlib.sha256()
    for pattern in globs:
        for path in sorted(source.glob(pattern)):
            total.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def stale_pages(pages: set[str], before: dict[str, str], now: dict[str, str]) -> list[str]:
    """The pages of a pattern whose digest has changed, sorted."""
    changed = [pattern for pattern, digest in now.items() if before.get(pattern) != digest]
    return sorted(page for page in pages if any(fnmatchcase(page, pattern) for pattern in changed))


def _outdated(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    now = digests(Path(app.srcdir), app.config.watched_files)
    stale = stale_pages(set(env.found_docs), getattr(env, "sshpe_digests", {}), now)
    env.sshpe_digests = now  # kept with the pages once they are read
    return stale


def _prepare_kernels(app: Sphinx) -> None:
    """What the kernels inherit: no training, the book's own records and no data, no progress bars on a page."""
    os.environ["SSHPE_TRAINING"] = "forbidden"
    os.environ["SSHPE_RECORDS"] = str(Path(app.srcdir) / "records")
    os.environ["TQDM_DISABLE"] = "1"
    # Records tell what they were trained on; other files are of other experiments.
    os.environ.pop("SSHPE_DATA", None)


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx."""
    app.add_config_value("watched_files", {}, "", types=[dict])
    app.connect("builder-inited", _prepare_kernels)
    app.connect("env-get-outdated", _outdated)
    return {"version": "1", "env_version": 1, "parallel_read_safe": True, "parallel_write_safe": True}
