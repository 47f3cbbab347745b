"""Links from the published book back to its repository: edit a page, open it in Binder or Colab.

A book built at home has none. The workflow that publishes it names the repository in SSHPE_REPOSITORY_URL and the
branch in SSHPE_REPOSITORY_BRANCH.
"""

from __future__ import annotations

import os
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config


def options(url: str, branch: str) -> dict[str, Any]:
    """The theme's options for a book whose sources are in `book/` of a repository."""
    return {
        "repository_url": url.rstrip("/"),
        "repository_branch": branch,
        "path_to_docs": "book",
        "use_repository_button": True,
        "use_edit_page_button": True,
        "launch_buttons": {
            "notebook_interface": "jupyterlab",
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
        },
    }


def _link(app: Sphinx, config: Config) -> None:
    url = os.environ.get("SSHPE_REPOSITORY_URL")
    if url:
        branch = os.environ.get("SSHPE_REPOSITORY_BRANCH", "main")
        config.html_theme_options = config.html_theme_options | options(url, branch)


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx."""
    app.connect("config-inited", _link)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
