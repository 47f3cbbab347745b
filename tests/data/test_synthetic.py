"""Synthetic people: determinism, COCO format, truth of the labels, joint limits, crowding, the cache."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import FrozenInstanceError, asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from sshpe_lib.data.synthetic import SyntheticPeople, build, contact_sheet, dataset, fingerprint, render
from sshpe_lib.data.synthetic.appearance import sample_outfit
from sshpe_lib.data.synthetic.body import LIMITS, Point, forward, rotations, sample_body
from sshpe_lib.data.synthetic.painter import Canvas
from sshpe_lib.data.synthetic.person import Part, Person, make_person
from sshpe_lib.data.synthetic.pose import sample_angles
from sshpe_lib.data.synthetic.shapes import Shapes
from sshpe_lib.data.synthetic.texture import Palette
from sshpe_lib.errors import SSHPEError
from sshpe_lib.seeding import numpy_stream
from sshpe_lib.skeleton import COCO17

SPEC = SyntheticPeople(images=40, seed=3)
CROWD = SyntheticPeople(images=30, seed=5, height=96, width=160, people=(2, 4), crowding=0.5)
KEYPOINT = {name: i for i, name in enumerate(COCO17.keypoints)}


def digest(spec: SyntheticPeople, indices: range) -> str:
    found = hashlib.sha256()
    for index in indices:
        image, annotations = render(spec, index)
        found.update(image.tobytes())
        found.update(json.dumps(annotations).encode())
    return found.hexdigest()


def standing(yaw: float, angles: np.ndarray | None = None, seed: int = 0, height: int = 192) -> Person:
    """A person of the given yaw (0 faces the camera), all of it in an image of `height` squared."""
    rng = numpy_stream("test", seed)
    palette = Palette()
    body = sample_body(rng)
    turn = rotations(np.deg2rad([[0.0, yaw, 0.0]]))[0]
    points, frames = forward(body, np.zeros((13, 3)) if angles is None else angles, turn)
    outfit = replace(sample_outfit(rng, palette, np.full(3, 128.0)), head=0, pack=False)
    person = make_person(body, points, frames, outfit, 5.0, np.array(palette.grain))
    x0, y0, x1, y1 = person.outlines.bounds()
    scale = 0.9 * height / max(x1 - x0, y1 - y0)
    middle = np.array([x0 + x1, y0 + y1]) / 2
    return person.moved(scale, height / 2 - scale * middle)


def flags(person: Person, height: int = 192) -> np.ndarray:
    canvas = Canvas(height, height)
    canvas.paint_person(person, 0)
    return canvas.visibility(person, 0)


def disc(place: np.ndarray, radius: float):
    shapes = Shapes()
    shapes.ball(np.array([*place, 0.0]), np.eye(3), np.full(3, radius), 0, Part.OTHER, 0.0)
    return shapes.project(1e6, np.array([1.0]))


def as_text(spec: SyntheticPeople) -> str:
    return json.dumps(asdict(spec))


class TestDeterminism:
    def test_two_renders_are_equal_bit_for_bit(self):
        assert digest(SPEC, range(6)) == digest(SPEC, range(6))
        assert digest(CROWD, range(4)) == digest(CROWD, range(4))

    def test_another_process_renders_the_same(self):
        code = (
            "from tests.data.test_synthetic import *; print(digest(SPEC, range(6)), digest(CROWD, range(4)))"
        )
        root = Path(__file__).resolve().parents[2]
        env = {**os.environ, "PYTHONPATH": str(root)}
        out = subprocess.run(
            [sys.executable, "-c", code], env=env, cwd=root, capture_output=True, text=True, check=True
        )
        assert out.stdout.split() == [digest(SPEC, range(6)), digest(CROWD, range(4))]

    def test_an_image_does_not_depend_on_how_many_there_are_or_what_was_rendered_before(self):
        alone = digest(replace(SPEC, images=1000), range(5, 6))
        digest(SPEC, range(3))
        assert digest(SPEC, range(5, 6)) == alone

    def test_seeds_and_indices_differ(self):
        found = {digest(replace(SPEC, seed=seed), range(i, i + 1)) for seed in range(5) for i in range(5)}
        assert len(found) == 25

    def test_the_fingerprint_names_the_spec(self):
        assert fingerprint(SPEC) == fingerprint(replace(SPEC))
        others = [replace(SPEC, images=41), replace(SPEC, seed=4), replace(SPEC, first_id=7), CROWD]
        assert len({fingerprint(spec) for spec in [SPEC, *others]}) == 5


class TestSpec:
    @pytest.mark.parametrize(
        ("bad", "named"),
        [
            ({"images": 0}, "images is 0"),
            ({"images": 2.5}, "images is 2.5"),
            ({"seed": -1}, "seed -1"),
            ({"height": 8}, "height is 8"),
            ({"width": 99999}, "width is 99999"),
            ({"people": (0, 1)}, "people is (0, 1)"),
            ({"people": (3, 2)}, "people is (3, 2)"),
            ({"people": 2}, "people is 2"),
            ({"people": (1.9, 2.9)}, "people is (1.9, 2.9); give two whole numbers"),
            ({"people": "12"}, "people is '12'"),
            ({"people": (float("inf"), 2)}, "people is (inf, 2)"),
            ({"people": (True, 2)}, "people is (True, 2)"),
            ({"people": (1, 2, 3)}, "people is (1, 2, 3)"),
            ({"difficulty": True}, "difficulty is True"),
            ({"crowding": 1.5}, "crowding is 1.5"),
            ({"crowding": float("nan")}, "crowding is nan"),
            ({"first_id": -3}, "first_id -3"),
        ],
    )
    def test_a_bad_value_is_named(self, bad, named):
        with pytest.raises(SSHPEError) as error:
            SyntheticPeople(**{"images": 3, **bad})
        assert named in str(error.value)

    def test_it_is_a_value(self):
        with pytest.raises(FrozenInstanceError):
            SPEC.seed = 4
        assert SyntheticPeople(3, people=[1, 2]) == SyntheticPeople(3, people=(1, 2))


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return build(replace(CROWD, first_id=101), tmp_path_factory.mktemp("cache"), progress=False)


class TestCoco:
    def test_pycocotools_loads_it(self, path, capsys):
        coco = COCO(str(path))
        assert coco.getImgIds() == list(range(101, 131))
        assert coco.getAnnIds() == list(range(101, 101 + len(coco.anns)))
        category = coco.loadCats(1)[0]
        assert tuple(category["keypoints"]) == COCO17.keypoints
        assert [(a - 1, b - 1) for a, b in category["skeleton"]] == list(COCO17.limbs)

    def test_the_files_hold_what_render_gives(self, path):
        content = json.loads(path.read_text())
        for index, entry in enumerate(content["images"][:6]):
            image, annotations = render(CROWD, index)
            stored = cv2.imread(str(path.parent / "images" / entry["file_name"]))[..., ::-1]
            assert np.array_equal(stored, image)
            assert (entry["height"], entry["width"]) == image.shape[:2]
            mine = [a for a in content["annotations"] if a["image_id"] == entry["id"]]
            keys = annotations[0].keys()
            assert [{k: a[k] for k in keys} for a in mine] == annotations

    def test_every_annotation_is_consistent(self):
        inside, visible = 0, 0
        for spec in (SPEC, CROWD):
            for index in range(spec.images):
                image, annotations = render(spec, index)
                assert image.shape == (spec.height, spec.width, 3) and image.dtype == np.uint8
                assert spec.people[0] <= len(annotations) <= spec.people[1]
                for annotation in annotations:
                    points = np.array(annotation["keypoints"], dtype=float).reshape(17, 3)
                    x, y, w, h = annotation["bbox"]
                    assert annotation["num_keypoints"] == (points[:, 2] > 0).sum() >= 1
                    assert annotation["iscrowd"] == 0
                    assert 0 < annotation["area"] <= w * h
                    assert x >= 0 and y >= 0 and x + w <= spec.width and y + h <= spec.height
                    out = points[:, 2] == 0
                    assert (points[out] == 0).all()
                    assert (points[~out, :2] >= 0).all()
                    assert (points[~out, :2] <= (spec.width - 1, spec.height - 1)).all()
                    seen = points[points[:, 2] == 2, :2]
                    inside += ((seen >= (x - 1, y - 1)) & (seen <= (x + w, y + h))).all(axis=1).sum()
                    visible += len(seen)
        assert visible > 500
        assert inside >= 0.999 * visible

    def test_variety(self):
        """Most keypoints are seen, some hidden, some outside; no image repeats another's pose."""
        flag = np.array([render(SPEC, i)[1][0]["keypoints"][2::3] for i in range(SPEC.images)])
        shares = [(flag == v).mean() for v in (0, 1, 2)]
        assert 0.01 < shares[0] < 0.25 and 0.1 < shares[1] < 0.5 and shares[2] > 0.4


class TestBody:
    def test_poses_stay_within_joint_limits(self):
        rng = numpy_stream("limits")
        for _ in range(300):
            angles = sample_angles(rng)
            assert (angles >= LIMITS[..., 0]).all() and (angles <= LIMITS[..., 1]).all()

    def test_elbows_and_knees_are_hinges_that_close_the_right_way(self):
        """In the upper limb's frame an elbow brings the forearm forward (-z), a knee the shank back (+z)."""
        rng = numpy_stream("hinges")
        for _ in range(100):
            body, angles = sample_body(rng), sample_angles(rng)
            points, frames = forward(body, angles, np.eye(3))
            for side in (0, 1):
                shoulder, hip = frames[Point.L_SHOULDER + side], frames[Point.L_HIP + side]
                forearm = shoulder.T @ (points[Point.L_WRIST + side] - points[Point.L_ELBOW + side])
                shank = hip.T @ (points[Point.L_ANKLE + side] - points[Point.L_KNEE + side])
                assert forearm[2] <= 1e-9 and abs(forearm[0]) < 1e-9
                assert shank[2] >= -1e-9 and abs(shank[0]) < 1e-9
                assert 0 <= angles[Point.L_ELBOW + side, 0] <= 145

    def test_bones_keep_their_length(self):
        rng = numpy_stream("bones")
        body = sample_body(rng)
        for _ in range(20):
            points, frames = forward(body, sample_angles(rng), np.eye(3))
            for a, b in ((Point.L_HIP, Point.L_KNEE), (Point.R_ELBOW, Point.R_WRIST)):
                assert np.linalg.norm(points[b] - points[a]) == pytest.approx(np.linalg.norm(body.offsets[b]))
            assert np.allclose(frames @ frames.transpose(0, 2, 1), np.eye(3))
            assert np.allclose(np.linalg.det(frames), 1)

    def test_mirrored_angles_give_the_mirrored_body(self):
        """Swapping the sides' angles, and the signs of the trunk's turns, mirrors every joint in x."""
        rng = numpy_stream("mirror")
        body, angles = sample_body(rng), sample_angles(rng)
        swap = [0, 1, 2, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11]
        mirrored = angles[swap].copy()
        mirrored[:3, 1:] *= -1
        points, _ = forward(body, angles, np.eye(3))
        other, _ = forward(body, mirrored, np.eye(3))
        order = [*swap, 13, 15, 14, 17, 16, 19, 18]
        assert np.allclose(other[order] * (-1, 1, 1), points)

    def test_left_and_right_in_front_and_back_views(self):
        pairs = [
            (KEYPOINT[f"left_{n}"], KEYPOINT[f"right_{n}"]) for n in ("shoulder", "hip", "knee", "ear", "eye")
        ]
        front, back = standing(0.0).keypoints, standing(180.0).keypoints
        for left, right in pairs:
            assert front[left, 0] > front[right, 0] + 1
            assert back[left, 0] < back[right, 0] - 1

    def test_proportions_vary(self):
        rng = numpy_stream("proportions")
        bodies = [sample_body(rng) for _ in range(300)]
        heads = [b.head[1] / -b.offsets[Point.NECK, 1] for b in bodies]
        girths = [b.girth for b in bodies]
        assert max(heads) > 1.3 * min(heads)
        assert max(girths) > 1.7 * min(girths)


class TestVisibility:
    def test_a_front_view_shows_everything(self):
        assert (flags(standing(0.0)) == 2).all()

    def test_a_back_view_hides_the_face_and_nothing_of_the_limbs(self):
        found = flags(standing(180.0))
        assert (found[:3] == 1).all()
        assert (found[5:] == 2).all()

    def test_a_side_view_hides_the_far_side(self):
        """Turned by 90 degrees a person looks to the image's left and shows its own left side."""
        reaching = np.zeros((13, 3))
        reaching[[Point.L_SHOULDER, Point.R_SHOULDER], 0] = 85
        for yaw, near, far in ((90.0, "left", "right"), (-90.0, "right", "left")):
            person = standing(yaw, reaching)
            ahead = person.keypoints[KEYPOINT["nose"], 0] - person.keypoints[KEYPOINT[f"{near}_ear"], 0]
            assert ahead < 0 if near == "left" else ahead > 0
            found = flags(person)
            for name in ("ear", "eye", "shoulder", "hip"):
                assert found[KEYPOINT[f"{near}_{name}"]] == 2
                assert found[KEYPOINT[f"{far}_{name}"]] == 1

    @pytest.mark.parametrize(
        "name", ["nose", "left_elbow", "right_wrist", "left_hip", "right_knee", "left_ankle"]
    )
    def test_an_object_over_a_joint_hides_that_joint(self, name):
        person = standing(0.0)
        index = KEYPOINT[name]
        canvas = Canvas(192, 192)
        canvas.paint_person(person, 0)
        assert canvas.visibility(person, 0)[index] == 2
        canvas.paint(disc(person.keypoints[index], 4.0))
        found = canvas.visibility(person, 0)
        assert found[index] == 1
        far = np.hypot(*(person.keypoints - person.keypoints[index]).T) > 8
        assert (found[far] == 2).all()

    def test_an_object_behind_hides_nothing(self):
        person = standing(0.0)
        canvas = Canvas(192, 192)
        canvas.paint(disc(person.keypoints[KEYPOINT["left_knee"]], 30.0))
        canvas.paint_person(person, 0)
        assert (canvas.visibility(person, 0) == 2).all()

    def test_a_person_in_front_hides_the_one_behind(self):
        back, front = standing(0.0), standing(0.0, seed=1)
        canvas = Canvas(192, 192)
        box, area = canvas.paint_person(back, 0)
        canvas.paint_person(front, 1)
        assert (canvas.visibility(front, 1) == 2).all()
        found = canvas.visibility(back, 0)
        assert (found[KEYPOINT["left_hip"]], found[KEYPOINT["right_hip"]]) == (1, 1)
        alone = Canvas(192, 192)
        assert alone.paint_person(back, 0) == (box, area)  # its silhouette counts what is hidden

    def test_a_hand_behind_the_back_is_seen_from_behind_only(self):
        angles = np.zeros((13, 3))
        angles[Point.L_SHOULDER] = -35, 60, 0
        angles[Point.L_ELBOW, 0] = 75
        assert flags(standing(0.0, angles))[KEYPOINT["left_wrist"]] == 1
        assert flags(standing(180.0, angles))[KEYPOINT["left_wrist"]] == 2

    def test_a_joint_outside_the_image_has_no_label(self):
        person = standing(0.0).moved(1.0, np.array([0.0, 60.0]))
        found = flags(person)
        below = person.keypoints[:, 1] > 191
        assert below.any() and (found[below] == 0).all() and (found[~below] > 0).all()

    def test_the_box_and_area_of_a_disc(self):
        canvas = Canvas(64, 64)
        person = replace(standing(0.0), outlines=disc(np.array([30.0, 20.0]), 10.0))
        box, area = canvas.paint_person(person, 0)
        assert box == [20, 10, 21, 21]
        assert area == pytest.approx(np.pi * 100, rel=0.08)


class TestCrowding:
    @staticmethod
    def overlap(crowding: float) -> float:
        """Mean share of the narrower box's width that left-to-right neighbours share."""
        spec = replace(CROWD, images=20, crowding=crowding)
        found = []
        for index in range(spec.images):
            boxes = sorted(a["bbox"] for a in render(spec, index)[1])
            for (x, _, w, _), (next_x, _, next_w, _) in zip(boxes, boxes[1:], strict=False):
                shared = min(x + w, next_x + next_w) - next_x
                found.append(max(0.0, shared) / min(w, next_w))
        return float(np.mean(found))

    def test_overlap_follows_the_parameter(self):
        none, some, much = (self.overlap(c) for c in (0.0, 0.3, 0.7))
        assert none < 0.05
        assert 0.2 < some < 0.45
        assert 0.55 < much < 0.9


class TestCache:
    SPEC = SyntheticPeople(images=5, seed=9)

    def test_a_second_build_renders_nothing(self, tmp_path, monkeypatch):
        first = build(self.SPEC, tmp_path, progress=False)
        assert first == tmp_path / fingerprint(self.SPEC) / "annotations.json"
        stamp = first.stat().st_mtime_ns
        monkeypatch.setattr(dataset, "render", lambda *a: pytest.fail("rendered again"))
        assert build(self.SPEC, tmp_path, progress=False) == first
        assert first.stat().st_mtime_ns == stamp

    def test_workers_change_nothing(self, tmp_path):
        spec = replace(self.SPEC, images=33)
        one = build(spec, tmp_path / "one", progress=False)
        two = build(spec, tmp_path / "two", progress=False, workers=2)
        assert one.read_bytes() == two.read_bytes()
        for path in (one.parent / "images").iterdir():
            assert path.read_bytes() == (two.parent / "images" / path.name).read_bytes()

    def test_an_error_leaves_nothing(self, tmp_path, monkeypatch):
        calls = []

        def failing(spec, index):
            calls.append(index)
            if index == 3:
                raise KeyboardInterrupt
            return render(spec, index)

        monkeypatch.setattr(dataset, "render", failing)
        with pytest.raises(KeyboardInterrupt):
            build(self.SPEC, tmp_path, progress=False)
        assert calls == [0, 1, 2, 3]
        assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == []

    def test_a_killed_build_leaves_nothing_that_passes_for_complete(self, tmp_path):
        spec = replace(self.SPEC, images=5000)
        process = subprocess.Popen([sys.executable, "-c", BUILD, as_text(spec), str(tmp_path)], env=ENV)
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".*/images/000003.png")):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (tmp_path / fingerprint(spec)).exists()
        partial = [p for p in tmp_path.iterdir() if p.is_dir()]
        assert len(partial) == 1
        # The next build of the same data clears the remains away.
        dataset_name = fingerprint(self.SPEC)
        partial[0].rename(tmp_path / f".{dataset_name}-left")
        build(self.SPEC, tmp_path, progress=False)
        assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == [dataset_name]

    def test_two_processes_render_it_once(self, tmp_path):
        command = [sys.executable, "-c", BUILD, as_text(replace(self.SPEC, images=30)), str(tmp_path)]
        both = [subprocess.Popen(command, env=ENV, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        rendered = [int(p.communicate()[0]) for p in both]
        assert [p.returncode for p in both] == [0, 0]
        assert sorted(rendered) == [0, 30]

    def test_a_cache_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(SSHPEError, match="name another folder or free space"):
            build(self.SPEC, tmp_path / "file", progress=False)

    def test_people_without_annotations_are_drawn_again(self, tmp_path):
        spec = replace(self.SPEC, images=1)
        made = build(spec, tmp_path, progress=False)
        content = made.read_bytes()
        made.unlink()
        assert build(spec, tmp_path, progress=False) == made and made.read_bytes() == content

    def test_a_cache_that_may_not_be_looked_into(self, tmp_path, monkeypatch):
        def refuse(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

        monkeypatch.setattr(Path, "is_file", refuse)
        with pytest.raises(SSHPEError, match=r"cannot be written there \(.*Permission denied.*name another"):
            build(self.SPEC, tmp_path, progress=False)

    @pytest.mark.parametrize("workers", [0, "2", 1.5])
    def test_workers_are_a_whole_number(self, tmp_path, workers):
        with pytest.raises(SSHPEError, match=f"workers is {workers!r}; give a whole number from 1 on"):
            build(self.SPEC, tmp_path, workers=workers)


ENV = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
# Builds the spec argv[1] in argv[2] and prints how many images this process rendered.
BUILD = """
import json
import sys
from pathlib import Path
from sshpe_lib.data.synthetic import SyntheticPeople, dataset
count, render = 0, dataset.render
def counting(spec, index):
    global count
    count += 1
    return render(spec, index)
dataset.render = counting
dataset.build(SyntheticPeople(**json.loads(sys.argv[1])), Path(sys.argv[2]), progress=False)
print(count)
"""


def test_the_contact_sheet_shows_labels_in_its_lower_half():
    plain = contact_sheet(SPEC, 3, 2, keypoints=False)
    drawn = contact_sheet(SPEC, 3, 2, keypoints=True)
    assert plain.shape == drawn.shape == (2 * 2 * SPEC.height, 3 * 2 * SPEC.width, 3)
    half = len(plain) // 2
    assert np.array_equal(plain[:half], drawn[:half])
    assert not np.array_equal(plain[half:], drawn[half:])


@pytest.mark.parametrize(("columns", "rows", "told"), [(0, 2, "columns is 0"), (3, 0, "rows is 0")])
def test_a_contact_sheet_of_nothing_is_refused(columns: int, rows: int, told: str) -> None:
    with pytest.raises(SSHPEError, match=f"{told}; give a whole number from 1 on"):
        contact_sheet(SPEC, columns, rows, keypoints=False)


def test_difficulty_lowers_what_makes_pictures_hard() -> None:
    """Fewer hidden and cut-off keypoints, less grain, nobody upside down."""
    easy, hard = (
        [render(SyntheticPeople(images=120, seed=5, difficulty=level), index) for index in range(120)]
        for level in (0.0, 1.0)
    )

    def flags(scenes: list) -> np.ndarray:
        return np.array([people[0]["keypoints"][2::3] for _, people in scenes])

    def upright(scenes: list) -> float:
        """Share of people whose nose is above both ankles."""
        places = np.array([people[0]["keypoints"] for _, people in scenes]).reshape(len(scenes), -1, 3)
        known = (places[:, [0, 15, 16], 2] > 0).all(1)
        return float((places[known, 0, 1] < places[known, 15:, 1].min(1)).mean())

    assert (flags(easy) == 1).mean() < 0.8 * (flags(hard) == 1).mean()
    assert (flags(easy) == 0).mean() < (flags(hard) == 0).mean()
    assert upright(easy) == 1.0 > upright(hard)
