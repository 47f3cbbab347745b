"""Experiments as values: validation, keys, and the profiles and tables of params/."""

import itertools
from contextlib import nullcontext
from dataclasses import asdict

import pytest

from sshpe_lib import config, profiles, tables
from sshpe_lib.config import Experiment
from sshpe_lib.config.model import NETWORKS
from sshpe_lib.data import sources
from sshpe_lib.errors import SSHPEError
from sshpe_lib.evaluate.multi_scale import region
from tests import choices


def values(**changes) -> dict:
    base = {
        "data": {
            "labeled": {"kind": "synthetic", "images": 64},
            "val": {"kind": "synthetic", "images": 8, "seed": 1},
            "labels": 16,
            "input_size": [48, 64],
        },
        "model": {"width": 8, "output_stride": 16, "init": "scratch"},
        "teacher": {"kind": "eman", "decay": 0.9},
        "augment": {"strong": [{"kind": "mum", "sites": ["layer1"]}]},
        "train": {"steps": 10, "batch_size": 8},
    }
    return profiles.merge(base, changes)


def build(**changes) -> Experiment:
    return config.validate(values(**changes), "test")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("people", [5, 2]),
        ("people", [0, 99]),
        ("people", [1, 13]),
        ("seed", -1),
        ("height", 31),
        ("height", 20),
        ("width", 1025),
        ("width", 5000),
    ],
)
def test_what_cannot_be_drawn_is_no_experiment(name: str, value: object) -> None:
    """Of the renderer's own limits, and told by the setting."""
    with pytest.raises(SSHPEError, match=f"profile quick, method supervised: data.val.{name}: "):
        tables.experiment("quick", "supervised", set={f"data.val.{name}": value})


def test_whoever_can_be_drawn_is_an_experiments() -> None:
    for given in ({"people": (1, 12), "height": 32}, {"people": (12, 12), "width": 1024}):
        made = build(data={"val": given}).data.val
        assert asdict(sources.people(made)) == asdict(sources.people(made)) | given


def test_an_experiment_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        build().train.steps = 3


def test_the_key_is_stable_and_written_down():
    """A change of this key orphans every committed record; bump METHOD_VERSION on purpose instead."""
    assert build().key() == build().key()
    assert len(build().key()) == 16
    assert build().key() == config.validate(build().model_dump(mode="json"), "again").key()


@pytest.mark.parametrize(
    "changes",
    [
        {"train": {"seed": 1}},
        {"train": {"steps": 11}},
        {"teacher": {"decay": 0.6}},
        {"teacher": {"kind": "ema"}},
        {"augment": {"strong": [{"kind": "mum"}]}},
        {"augment": {"strong": [{"kind": "affine"}]}},
        {"augment": {"strong": []}},
        {"data": {"labels": 17}},
        {"data": {"labeled": {"seed": 3}}},
        {"model": {"depth": 34}},
    ],
)
def test_the_key_moves_with_everything_that_decides_the_result(changes):
    assert build(**changes).key() != build().key()


def test_different_operations_without_settings_have_different_keys():
    one = build(augment={"strong": [{"kind": "mum"}]})
    other = build(augment={"strong": [{"kind": "affine"}]})
    assert one.key() != other.key()


def test_method_version_moves_the_key(monkeypatch):
    before = build().key()
    monkeypatch.setattr("sshpe_lib.config.experiment.METHOD_VERSION", config.METHOD_VERSION + 1)
    assert build().key() != before


@pytest.mark.parametrize(
    ("kind", "defaults"),
    [
        (config.Teacher, {"kind": "none", "decay": None, "warmup": False, "ramp": 0, "std": False}),
        (
            config.Train,
            {
                "epochs": None, "steps": None, "batch_size": 32, "learning_rate": 1e-3, "milestones": (2 / 3, 5 / 6),
                "burn_in": 0, "warmup": 0, "consistency": 1, "push": 1e-3, "pull": 1e-3, "hard_keypoints": None,
                "forward": "separate", "precision": "32-true", "channels_last": True, "sync_batch_norm": False,
                "seed": 0,
            },
        ),
        (
            config.Evaluate,
            {
                "times": 10, "protocol": "coco", "flip": False, "multi_scale": (), "nms": 0.9, "score_threshold": 0.2,
                "visibility": False,
            },
        ),
        (
            config.Data,
            {
                "extra": None, "unlabeled": None, "split": "first", "split_seed": 0, "input_size": (192, 256),
                "codec": "msra", "sigma": 2, "radius": None, "kernel": 7, "people": 30, "masks": True,
                "outside": "background", "reduced": False, "color": "rgb",
            },
        ),
        (config.Weak, {"scale": 0.25, "rotation": 30, "rotation_probability": 0.6, "flip": 0.5, "half_body": 0}),
        (config.WeakScene, {"scale": (0.75, 1.5), "rotation": 30, "shift": 40, "flip": 0.5}),
        (
            config.SyntheticSource,
            {
                "seed": 0, "height": 128, "width": 96, "people": (1, 1), "crowding": 0, "difficulty": 1, "version": 5,
            },
        ),
    ],
)  # fmt: skip
def test_defaults_are_those_of_the_committed_records(kind, defaults):
    """Keys leave them out, so with another one a record would be found for an experiment that it is not of."""
    found = {name: field.default for name, field in kind.model_fields.items() if not field.is_required()}
    assert found == defaults


def test_every_stage_has_a_stream_of_its_own():
    first = build()
    second = first.model_copy(update={"start": first})
    third = first.model_copy(update={"start": second})
    assert len({stage.stream_seed for stage in (first, second, third)}) == 3


def coco(path: str, fingerprint: str | None = "ab" * 32) -> dict:
    return {
        "kind": "coco",
        "annotations": f"{path}/a.json",
        "images": f"{path}/images",
        "fingerprint": fingerprint,
    }


def detected(path: str, fingerprint: str) -> dict:
    return coco("/x") | {"detections": path, "detections_fingerprint": fingerprint}


@pytest.mark.parametrize(
    "data",
    [
        lambda *file: {"labeled": coco(*file), "val": coco(file[0])},
        lambda *file: {"extra": coco(*file) | {"kind": "ai_challenger"}},
        lambda *file: {"labeled": coco("/x"), "val": detected(*file)},
    ],
    ids=["labelled and measured", "further people", "detected boxes"],
)
def test_paths_stay_out_of_the_key_and_fingerprints_stay_in(data):
    def key(*file):
        return config.validate(values() | {"data": values()["data"] | data(*file)}, "test").key()

    assert key("/here", "ab" * 32) == key("/there", "ab" * 32) != key("/here", "cd" * 32)


@pytest.mark.parametrize("role", ["labeled", "extra"])
def test_nobody_learns_from_boxes_without_keypoints(role):
    with pytest.raises(
        SSHPEError, match=rf"data\.{role}\.detections: detected boxes have no keypoints .* leave it"
    ):
        config.validate(values() | {"data": values()["data"] | {role: detected("/x", "ab" * 32)}}, "test")


def test_a_category_that_is_not_named_leaves_the_key_alone():
    def key(**named):
        return config.validate(
            values() | {"data": values()["data"] | {"labeled": coco("/x") | named, "val": coco("/x")}}, "test"
        ).key()

    assert key() == key(category=None) == "e9929e06a2c98c4a"
    assert len({key(), key(category="body"), key(category="hand")}) == 3


def test_no_key_without_a_fingerprint():
    unpinned = values() | {"data": values()["data"] | {"labeled": coco("/x", None), "val": coco("/x")}}
    with pytest.raises(SSHPEError, match="no fingerprint yet.*SSHPE_DATA"):
        config.validate(unpinned, "test").key()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": {"stpes": 3}}, "train.stpes: no such setting; check the spelling"),
        ({"train": {"epochs": 2}}, "exactly one of train.epochs and train.steps"),
        ({"train": {"batch_size": 10}}, "batch_size 10 does not divide into groups of 4"),
        ({"train": {"batch_size": 0}}, "train.batch_size: Input should be greater than 0"),
        ({"train": {"milestones": [0.9, 0.5]}}, "rising fractions"),
        ({"train": {"milestones": [0.0, 0.5]}}, r"fractions of the run in \(0, 1\]"),
        ({"train": {"precision": "fp8"}}, "train.precision"),
        ({"train": {"seed": -1}}, "train.seed"),
        ({"teacher": {"decay": 1.0}}, "teacher.decay: Input should be less than 1"),
        ({"teacher": {"decay": None}}, "needs a teacher.decay"),
        ({"teacher": {"kind": "single"}}, "averages nothing"),
        ({"teacher": {"kind": "none", "decay": None}}, "supervised run"),
        (
            {
                "teacher": {"kind": "none", "decay": None},
                "augment": {"strong": []},
                "train": {"burn_in": 0.5},
            },
            "a supervised run .* has no strong view and no burn-in",
        ),
        ({"teacher": {"kind": "ema", "std": True}}, "teacher.std"),
        ({"data": {"input_size": [48, 60]}}, "multiples of 16"),
        ({"model": {"output_stride": 32}}, "multiples of 32.*use output_stride 16"),
        ({"data": {"labels": 0}}, "data.labels: Input should be greater than 0"),
        ({"data": {"labeled": {"kind": "voc"}}}, "data.labeled"),
        ({"data": {"labels": None, "split": "random"}}, "data.labels is all of them"),
        (
            {"data": {"codec": "udp-offset"}},
            "teachers make heatmaps, and data.codec 'udp-offset' has offsets",
        ),
        (
            {"data": {"codec": "udp-gaussian", "kernel": 8}},
            "kernel 8: a blur has a middle; give an odd number",
        ),
        ({"data": {"kernel": 9}}, "data.kernel is of the codecs of UDP; codec is 'msra'"),
        ({"data": {"radius": 2.0}}, "data.radius is of the discs of codec 'udp-offset'; codec is 'msra'"),
        ({"augment": {"strong": [{"kind": "cutout", "half_size": [0, 5]}]}}, r"both above 0, not \(0, 5\)"),
        ({"augment": {"strong": [{"kind": "mum", "group": 1}]}}, "mum.group.*greater than or equal to 2"),
        ({"augment": {"strong": [{"kind": "mum", "sites": ["layer1", "layer1"]}]}}, "each mix site once"),
        (
            {"augment": {"strong": [{"kind": "mum", "tiles": [5, 3]}]}},
            "does not divide into 3 columns x 5 rows",
        ),
        ({"augment": {"strong": [{"kind": "mum", "tiles": [0, 3]}]}}, "tiles.*should be greater than 0"),
        ({"data": {"input_size": [0, 64]}}, "data.input_size.*should be greater than 0"),
        ({"data": {"input_size": [48, 4112]}}, "data.input_size.*should be less than or equal to 4096"),
        ({"augment": {"strong": [{"kind": "mum"}, {"kind": "affine"}]}}, "affine must come before mum"),
        ({"augment": {"strong": [{"kind": "mum"}, {"kind": "mum"}]}}, "lists mum twice"),
        (
            {"augment": {"strong": [{"kind": "mum", "unmix": "layer2", "sites": ["layer3"]}]}},
            "not before the unmix after 'layer2'",
        ),
        (
            {"augment": {"strong": [{"kind": "mum", "unmix": "layer2", "sites": ["layer2"]}]}},
            "not before the unmix after 'layer2'",
        ),
        ({"model": {"depth": 19}}, "model.depth"),
    ],
)
def test_a_wrong_setting_gets_one_clear_error(changes, message):
    with pytest.raises(SSHPEError, match=message):
        build(**changes)


def test_the_rate_may_fall_at_the_very_end():
    assert build(train={"milestones": [0.5, 1.0]}).train.milestones == (0.5, 1.0)


def test_every_fault_is_listed_at_once():
    with pytest.raises(SSHPEError) as caught:
        build(train={"batch_size": 0, "stpes": 1}, model={"depth": 7})
    assert all(place in str(caught.value) for place in ("train.batch_size", "train.stpes", "model.depth"))


@pytest.mark.parametrize("profile", ["smoke", "quick", "lsp", "paper"])
@pytest.mark.parametrize("method", list(profiles.load_methods()))
def test_every_profile_runs_every_method(profile, method):
    if profile == "lsp" and choices.of(method):
        with pytest.raises(SSHPEError, match="one person an image"):
            tables.experiment(profile, method, **choices.of(method))
        return
    experiment = tables.experiment(profile, method, **choices.of(method))
    assert experiment.semi_supervised == (profiles.load_methods()[method]["teacher"]["kind"] != "none")


@pytest.mark.parametrize("profile", ["smoke", "quick", "lsp", "paper"])
def test_every_cell_is_an_experiment_or_a_reason(profile):
    table = tables.load_table("table4")
    cells = list(tables.cell_experiments(table, profile, seeds=2))
    assert [cell for cell, _ in cells] == list(table.cells) and len(cells) == 10
    for _, made in cells:
        assert isinstance(made, str) or [one.train.seed for one in made] == [0, 1]


def test_table4_carries_the_numbers_of_the_paper():
    paper = {(cell.row, cell.column): cell.paper for cell in tables.load_table("table4").cells}
    assert paper[("0.6", "ResNet-18")] == 46.9
    assert paper[("0.9", "ResNet-101")] == 48.94
    assert [paper[(d, "ResNet-18")] for d in ("0.999", "0.99", "0.9", "0.5")] == [44.33, 45.13, 46.47, 45.91]


def test_the_paper_profile_is_the_papers_protocol():
    experiment = tables.experiment("paper", "pose-mum+")
    assert experiment.data.input_size == (192, 256)
    assert experiment.data.labels == 1000 and experiment.data.split == "first"
    assert experiment.train.epochs == 30 and experiment.train.milestones == (20 / 30, 25 / 30)
    assert experiment.train.burn_in == 0 and experiment.train.batch_size == 32
    assert experiment.train.learning_rate == 1e-3 and experiment.train.consistency == 1
    assert experiment.model.init == "imagenet" and experiment.model.width == 64
    assert tables.experiment("paper", "pose-mum+", amount="5K").train.epochs == 100


def test_unknown_names_list_the_known_ones():
    with pytest.raises(SSHPEError, match="no profile 'qick'.*paper, quick"):
        tables.experiment("qick", "mum")
    with pytest.raises(SSHPEError, match="no method 'mumm'.*pose-mum"):
        tables.experiment("quick", "mumm")
    with pytest.raises(SSHPEError, match="no backbone 'vgg'.*resnet18"):
        tables.experiment("quick", "mum", backbone="vgg")
    with pytest.raises(SSHPEError, match="no table .*beyond_table2, figure3_4, photographs, table1"):
        tables.load_table("table99")


def test_a_table_with_a_misspelt_field_names_the_file(tmp_path):
    (tmp_path / "t.yaml").write_text(
        "title: T\ncitation: c\ndata_of_paper: d\ncells:\n  - {row: a, colum: b, method: m}\n"
    )
    with pytest.raises(SSHPEError, match=r"t.yaml: .*cells.0.colum"):
        tables.load_table(tmp_path / "t.yaml")
    (tmp_path / "t.yaml").write_text("title: [T\n")
    with pytest.raises(SSHPEError, match=r"t.yaml: .*line"):
        tables.load_table(tmp_path / "t.yaml")


def test_mum_needs_stages_that_the_network_has():
    with pytest.raises(SSHPEError, match=r"stages \['layer2'\].*HRNet-W16.*it has stem, layer1, stage2"):
        tables.experiment(
            "quick", "mum", backbone="hrnet-w32", set={"augment.strong": [{"kind": "mum", "unmix": "layer2"}]}
        )
    mixed = [{"kind": "mum", "sites": ["layer1", "stage2", "stage3"]}]
    made = tables.experiment("quick", "mum", backbone="hrnet-w32", set={"augment.strong": mixed})
    assert made.unmix_stage(made.augment.strong[0]) == "stage4"
    with pytest.raises(SSHPEError, match=r"between the stages of a network, and 2xRSN-18.*has none"):
        tables.experiment("quick", "mum", backbone="2xrsn50")


def test_the_units_of_an_rsn_want_a_forward_of_their_own():
    with pytest.raises(SSHPEError, match="'joint' cannot supervise the units of an RSN; use 'separate'"):
        tables.experiment("quick", "jc-single", backbone="2xrsn50", set={"train.forward": "joint"})


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"network": "hrnet", "width": 18}, "for HRNet-W32 and HRNet-W48, and none for HRNet-W18"),
        ({"network": "hrnet", "blocks": 3}, "none for HRNet-W32 with a stem of 64 channels and 3 blocks"),
        ({"network": "hrnet", "stem": 32}, "none for HRNet-W32 with a stem of 32 channels and 4 blocks"),
        ({"network": "rsn", "stages": 5}, "model.stages: Input should be less than or equal to 4"),
    ],
)
def test_networks_that_nobody_published_are_told(model, message):
    with pytest.raises(SSHPEError, match=message):
        config.validate(values() | {"model": model}, "test")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data.input_size": [64, 96]}, "input_size 64x96: HigherHRNet-W16.*trained on squares"),
        ({"data.input_size": [72, 72]}, "multiples of 32"),
        ({"data.codec": "udp-offset"}, "has no offsets; use data.codec 'udp-gaussian'"),
        ({"train.hard_keypoints": 8}, "one person's; a bottom-up network sees many"),
        ({"data.extra": {"kind": "synthetic", "images": 4}}, "data.extra is for top-down networks"),
        ({"data.reduced": True}, "data.reduced is of crops; HigherHRNet-W16.* looks at whole images"),
        (
            {"augment.strong": [{"kind": "cut_occlude"}], "teacher.kind": "single"},
            r"\['cut_occlude'\], placed at the joints of one person",
        ),
        ({"evaluate.multi_scale": [0.5, 2]}, "positive scales, each once, with 1 among them"),
        ({"evaluate.multi_scale": [0.75, 1]}, "multi_scale 0.75, 1: .* multiples of half of the smallest"),
        ({"augment.scene": {"scale": [1.5, 0.75]}}, "smallest and the largest share of the short side"),
    ],
)
def test_what_a_bottom_up_network_cannot_have_is_told(settings, message):
    with pytest.raises(SSHPEError, match=message):
        tables.experiment("quick", "udpv1", set=settings, **choices.WHOLE)


def test_scales_of_a_test_give_inputs_that_a_bottom_up_network_reads_and_others_are_refused():
    """Whatever the images: the sides at the smallest scale are any multiples of 64."""
    taken = []
    for scales in itertools.combinations((0.2, 0.4, 0.5, 0.6, 0.75, 0.8, 1, 1.25, 1.5, 2, 3), 3):
        if 1 not in scales:
            continue
        images = [(short, long) for short in (64, 320, 500) for long in range(short, 1000, 61)]
        sides = [
            side for image in images for scale in scales for side in region(image, 512, scale, scales[0]).size
        ]
        fit = all(side % 32 == 0 for side in sides)
        with nullcontext() if fit else pytest.raises(SSHPEError, match="half of the smallest"):
            tables.experiment("quick", "udpv1", set={"evaluate.multi_scale": scales}, **choices.WHOLE)
            taken.append(scales)
    assert {(0.2, 0.6, 1), (0.4, 0.6, 1), (0.5, 1, 2), (1, 1.5, 2)} <= set(taken)


def test_joints_of_one_person_are_not_cut_out_of_whole_images():
    with pytest.raises(SSHPEError, match=r"\['joint_cutout'\], placed at the joints of one person"):
        tables.experiment("quick", "jc-single", **choices.WHOLE)
    with pytest.raises(SSHPEError, match="multi_scale is of bottom-up networks; ResNet-18 .* looks at crops"):
        tables.experiment("quick", "supervised", set={"evaluate.multi_scale": [1]})
    with pytest.raises(SSHPEError, match=r"data\.outside is of whole images; ResNet-18 .* looks at crops"):
        tables.experiment("quick", "supervised", set={"data.outside": "ignored"})


@pytest.mark.parametrize("protocol", ["aid bottom-up", "aid bottom-up on CrowdPose"])
def test_outside_of_an_image_is_ignored_on_paper_as_the_reference_does(protocol):
    """The small profiles teach it as background, which stays out of the keys of their records."""
    whole = choices.WHOLE | {"protocol": protocol}
    assert tables.experiment("paper", "udpv1", **whole).data.outside == "ignored"
    made = tables.experiment("quick", "udpv1", **whole)
    assert made.data.outside == "background"
    assert made == tables.experiment("quick", "udpv1", set={"data.outside": "background"}, **whole)
    assert made.key() != tables.experiment("quick", "udpv1", set={"data.outside": "ignored"}, **whole).key()
    assert "outside" not in made.model_dump(mode="json", exclude_defaults=True)["data"]


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ({"kind": "random_erasing", "area": [0.4, 0.02]}, r"random_erasing.area: give numbers of 0 to 1, the smaller"),
        ({"kind": "random_erasing", "area": [0.5, 1.5]}, r"random_erasing.area: .* not \(0.5, 1.5\)"),
        ({"kind": "random_erasing", "aspect": [3, 0.3]}, "random_erasing.aspect: give numbers of 0.001 or more"),
        ({"kind": "information_cutout", "radius": [0.4, 0.2]}, "information_cutout.radius: "),
        ({"kind": "grid_mask", "spacing": [1.0, 0.4]}, "grid_mask.spacing: "),
        ({"kind": "hide_and_seek", "sizes": [16, 0]}, "hide_and_seek.sizes: give numbers of 0 or more"),
        ({"kind": "hide_and_seek", "sizes": []}, "hide_and_seek: sizes is too short"),
        ({"kind": "hide_and_seek", "sizes": [16], "legacy_index": True}, "hide_and_seek: sizes is too short"),
    ],
)  # fmt: skip
def test_limits_of_dropping_the_wrong_way_round_are_told_with_their_entry(operation, message):
    with pytest.raises(SSHPEError, match=rf"profile quick, method udpv1: augment\.dropping\.0\.{message}"):
        tables.experiment("quick", "udpv1", set={"augment.dropping": [operation]})


def test_the_kinds_are_those_of_the_unions():
    assert NETWORKS == ("simple_baseline", "hrnet", "higher_hrnet", "rsn")
    assert config.SOURCES == ("synthetic", "coco", "ai_challenger")


@pytest.mark.parametrize(
    ("model", "multiple", "short", "words"),
    [
        (config.SimpleBaseline(output_stride=16, width=16), 16, "R18", "ResNet-18 of width 16"),
        (config.HRNet(network="hrnet"), 32, "HRNet-W32", "HRNet-W32"),
        (config.HigherHRNet(network="higher_hrnet"), 32, "HigherHRNet-W32", "HigherHRNet-W32"),
        (config.RSN(network="rsn", stages=2, width=16), 32, "2xRSN-18", "2xRSN-18 of width 16"),
        (config.RSN(network="rsn", depth=50, expansion=4), 32, "RSN-50", "RSN-50 of expansion 4"),
    ],
    ids=lambda value: getattr(value, "network", ""),
)
def test_what_a_network_says_of_itself(model, multiple, short, words):
    assert (model.multiple, model.short, str(model)) == (multiple, short, words)
    assert model.architecture == model.model_copy(update={"init": "scratch"})
    assert (model.encoder in model.named_stages) == bool(model.named_stages)
