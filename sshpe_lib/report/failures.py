"""The worst cases, each with its picture and what went wrong with which joints, to look through by kind."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from sshpe_lib.report.breakdown import COLORS, KINDS
from sshpe_lib.report.overlay import DARK, overlay
from sshpe_lib.skeleton import Skeleton

HEIGHT = 300  # of a picture, px
MARGIN = 0.15  # around what is drawn, of its longer side
WRONG = tuple(range(len(KINDS) - 1, 0, -1))  # what can be wrong, the worst first
TRUTH = (255, 255, 255)


@dataclass(frozen=True)
class Case:
    """One labelled person and the prediction.

    image: (H, W, 3) uint8 RGB; predicted: (K, 3) x, y in pixels and score; truth: (K, 3) x, y and v; kinds: (K,) what
    became of every joint, an index of `KINDS`, -1 where none is labelled; where: the entry and the file, in words.
    """

    image: np.ndarray
    predicted: np.ndarray
    truth: np.ndarray
    kinds: np.ndarray
    oks: float
    where: str

    def wrong(self, skeleton: Skeleton) -> dict[str, list[str]]:
        """The joints of every kind of error that occurs, the worst kind first."""
        found = {
            KINDS[kind]: [skeleton.keypoints[j].replace("_", " ") for j in np.flatnonzero(self.kinds == kind)]
            for kind in WRONG
        }
        return {kind: joints for kind, joints in found.items() if joints}

    def summary(self, skeleton: Skeleton) -> str:
        """One line: OKS, where, and how many joints went wrong in which way."""
        wrong = ", ".join(f"{len(joints)} {kind}" for kind, joints in self.wrong(skeleton).items())
        return f"OKS {self.oks:.2f}  {self.where}: {wrong or 'nothing is wrong'}"


@dataclass(frozen=True)
class Failures:
    """Cases in order, the worst first; a notebook shows them as a page to look through.

    title: what was measured on what.
    """

    cases: tuple[Case, ...]
    skeleton: Skeleton
    title: str

    def __str__(self) -> str:
        return "\n".join(case.summary(self.skeleton) for case in self.cases)

    def _repr_html_(self) -> str:
        """Buttons for the kinds of error above the pictures; no script, and nothing is fetched."""
        counts = {
            kind: sum(kind in case.wrong(self.skeleton) for case in self.cases)
            for kind in (KINDS[n] for n in WRONG)
        }
        buttons = [_button("all", len(self.cases), True), *(_button(k, n) for k, n in counts.items())]
        hidden = "".join(
            f".sshpe-failures:has(.only-{kind}:checked) figure:not(.{kind}){{display:none}}"
            for kind in counts
        )
        figures = "".join(_figure(case, self.skeleton) for case in self.cases)
        return (
            f"<style>{_STYLE}{hidden}</style><div class='sshpe-failures'><p><strong>{escape(self.title)}</strong> "
            "The label is white and the prediction coloured, left orange and right blue; a ring marks a wrong joint: "
            f"{_legend()}.</p><p>{''.join(buttons)}</p><div>{figures}</div></div>"
        )

    def page(self) -> str:
        """The same as a whole document."""
        return (
            f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{escape(self.title)}</title><meta "
            f"name='viewport' content='width=device-width'></head><body style='font-family:sans-serif'>"
            f"{self._repr_html_()}</body></html>\n"
        )


_STYLE = (
    ".sshpe-failures div{display:flex;flex-wrap:wrap;gap:1em}"
    ".sshpe-failures figure{margin:0;width:16em;font-size:smaller}"
    ".sshpe-failures img{max-width:100%;height:auto}"
    ".sshpe-failures label{margin-right:1em;white-space:nowrap}"
)


def _button(kind: str, count: int, checked: bool = False) -> str:
    mark = " checked" if checked else ""
    return f"<label><input type='radio' name='sshpe-kind' class='only-{kind}'{mark}> {kind} ({count})</label>"


def _legend() -> str:
    dots = (f"<span style='color:{COLORS[kind]}'>●</span> {KINDS[kind]}" for kind in WRONG)
    return ", ".join(dots)


def _figure(case: Case, skeleton: Skeleton) -> str:
    import cv2

    wrong = case.wrong(skeleton)
    told = "<br>".join(f"{kind}: {escape(', '.join(joints))}" for kind, joints in wrong.items())
    done, data = cv2.imencode(".jpg", picture(case, skeleton)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    text = escape(case.summary(skeleton), quote=True)
    return (
        f"<figure class='{' '.join(wrong)}'><img alt=\"{text}\" "
        f"src='data:image/jpeg;base64,{base64.b64encode(data).decode()}'>"
        f"<figcaption><strong>OKS {case.oks:.2f}</strong> {escape(case.where)}<br>{told}</figcaption></figure>"
    )


def picture(case: Case, skeleton: Skeleton) -> np.ndarray:
    """The person, (HEIGHT, W, 3) uint8 RGB: the label in white, the prediction over it, a ring on every wrong joint."""
    import cv2

    labeled = case.truth[:, 2] > 0
    there = np.isfinite(case.predicted[:, :2]).all(1) & (np.abs(case.predicted[:, :2]) < 1e5).all(1)
    points = np.concatenate([case.truth[labeled, :2], case.predicted[there, :2]])
    height, width = case.image.shape[:2]
    points = points.clip(0, (width - 1, height - 1))
    low, high = points.min(0), points.max(0)
    margin = MARGIN * max(*(high - low), 8)
    x0, y0 = np.floor(np.maximum(low - margin, 0)).astype(int)
    x1, y1 = np.ceil(np.minimum(high + margin + 1, (width, height))).astype(int)
    scale = HEIGHT / (y1 - y0)
    size = (max(1, round((x1 - x0) * scale)), HEIGHT)
    part = np.ascontiguousarray(cv2.resize(case.image[y0:y1, x0:x1], size, interpolation=cv2.INTER_CUBIC))
    place = np.array([x0, y0])
    truth = (case.truth[:, :2] + 0.5 - place) * scale - 0.5
    scores = np.where(there, case.predicted[:, 2], 0)  # a joint of score 0 is not drawn
    found = np.column_stack([(case.predicted[:, :2] + 0.5 - place) * scale - 0.5, scores])
    _label(part, truth, labeled, skeleton.limbs)
    drawn = overlay(part, [found], skeleton)
    for joint in np.flatnonzero(there):
        if case.kinds[joint] > 0:
            shade = tuple(int(COLORS[case.kinds[joint]][i : i + 2], 16) for i in (1, 3, 5))
            center = np.rint(found[joint, :2]).astype(int).tolist()
            cv2.circle(drawn, center, 7, DARK, 4, cv2.LINE_AA)
            cv2.circle(drawn, center, 7, shade, 2, cv2.LINE_AA)
    return drawn


def _label(
    image: np.ndarray, joints: np.ndarray, labeled: np.ndarray, limbs: Sequence[tuple[int, int]]
) -> None:
    import cv2

    places = np.rint(joints).astype(int).tolist()
    for color, width in ((DARK, 3), (TRUTH, 1)):
        for a, b in limbs:
            if labeled[a] and labeled[b]:
                cv2.line(image, places[a], places[b], color, width, cv2.LINE_AA)
        for joint in np.flatnonzero(labeled):
            cv2.circle(image, places[joint], 1 + width, color, cv2.FILLED, cv2.LINE_AA)
