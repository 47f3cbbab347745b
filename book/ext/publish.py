"""Links from the published book back to its repository: edit a page, open it in Binder or Colab.

A book built at home has none. The workflow that publishes it names the repository in SSHPE_REPOSITORY_URL, what the
book is of in SSHPE_REPOSITORY_BRANCH, a branch or a tag, and the branch that takes edits in
SSHPE_REPOSITORY_DEFAULT_BRANCH; the same where it is left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.docutils import SphinxRole

BINDER = "https://mybinder.org"


def options(url: str, branch: str) -> dict[str, Any]:
    """The theme's options for a book whose sources are in `book/` of a repository."""
    return {
        "repository_url": url,
        "repository_branch": branch,
        "path_to_docs": "book",
        "use_repository_button": True,
        "use_edit_page_button": True,
        "launch_buttons": {
            "notebook_interface": "jupyterlab",
            "binderhub_url": BINDER,
            "colab_url": "https://colab.research.google.com",
        },
    }


def corrected(url: str, branch: str, default_branch: str) -> str:
    """A link of the theme's as GitHub has it: no file is found behind a symbolic link, and no tag can be edited.

    The theme finds a notebook at book/notebooks, a link to notebooks/, and edits `branch`.
    """
    url = url.replace("/book/notebooks/", "/notebooks/")
    return url.replace(f"/edit/{branch}/", f"/edit/{default_branch}/")


class Launch(SphinxRole):
    """A notebook that is no page, by its path: a link that opens it in Binder where the book is published."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        shown = nodes.literal(self.text, self.text)
        url, branch, _ = _repository()
        if not url.startswith("https://github.com/"):
            return [shown], []
        place = (
            f"{BINDER}/v2/gh/{url.removeprefix('https://github.com/')}/{branch}?urlpath=lab/tree/{self.text}"
        )
        return [nodes.reference("", "", shown, refuri=place)], []


def _repository() -> tuple[str, str, str]:
    """Its address, empty where the book is built at home; the book's branch or tag; the branch that takes edits."""
    branch = os.environ.get("SSHPE_REPOSITORY_BRANCH", "main")
    default = os.environ.get("SSHPE_REPOSITORY_DEFAULT_BRANCH") or branch
    return os.environ.get("SSHPE_REPOSITORY_URL", "").rstrip("/"), branch, default


def _link(app: Sphinx, config: Config) -> None:
    url, branch, _ = _repository()
    if url:
        config.html_theme_options = config.html_theme_options | options(url, branch)


def _correct(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    _, branch, default_branch = _repository()
    for button in _links(context.get("header_buttons", [])):
        button["url"] = corrected(button["url"], branch, default_branch)


def _links(buttons: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The buttons that are links, those of groups too."""
    for button in buttons:
        yield from _links(button.get("buttons", []))
        if "url" in button:
            yield button


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx."""
    app.add_role("launch", Launch())
    app.connect("config-inited", _link)
    app.connect("html-page-context", _correct, priority=502)  # the theme makes its buttons at 501
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
