"""The `sshpe` commands that train, measure and use one network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sshpe_lib.cli_options import (
    AcceleratorOption,
    CategoryOption,
    DevicesOption,
    GraphsOption,
    PackOption,
    TensorboardOption,
    WorkersOption,
    machine_of,
)

networks_app = typer.Typer()


@networks_app.command()
def train(
    people: Annotated[Path, typer.Argument(help="a COCO-format keypoint file to learn from")],
    val: Annotated[
        Path,
        typer.Option(
            help="a COCO-format keypoint file to measure on; `sshpe data split` makes one of a part"
        ),
    ],
    method: Annotated[
        str, typer.Option(help="how: supervised, pose-mum+, udpv1, aid-cutout, ... (params/methods.yaml)")
    ] = "supervised",
    labels: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="how many people (images, for a network that reads whole ones) have labels, the first of the file; "
            "all of them if left out",
        ),
    ] = None,
    unlabeled: Annotated[
        Path | None,
        typer.Option(
            help="a further file, of people without labels for pose-mum+ and the like; everybody in PEOPLE if left out"
        ),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="PEOPLE's images; found beside the file if left out")
    ] = None,
    val_images: Annotated[
        Path | None, typer.Option(help="the images to measure on; found beside their file if left out")
    ] = None,
    unlabeled_images: Annotated[
        Path | None, typer.Option(help="the unlabelled images; found beside their file if left out")
    ] = None,
    category: CategoryOption = None,
    profile: Annotated[
        str,
        typer.Option(help="sizes: smoke and quick for a CPU, paper for a GPU; or a .yaml file of your own"),
    ] = "quick",
    backbone: Annotated[
        str,
        typer.Option(
            help="the paper's name of a network, which stands for one of the profile's (resnet101 is a narrow "
            "ResNet-34 on quick): resnet18, hrnet-w32, ...; higherhrnet-w32 finds people by itself, without boxes"
        ),
    ] = "resnet18",
    size: Annotated[
        str | None,
        typer.Option(
            help="the paper's name of an input, height x width, which stands for one of the profile's (384x288 is "
            "160x128 on quick)"
        ),
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            help="S1, S2 or S3 of params/schedules.yaml; of networks that read whole images bottom-up S1 or bottom-up "
            "S3"
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(help="one of the profile's; UDP and a flip test for udpv1 and aid-cutout, if left out"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the weights and all draws")] = 0,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="any other setting, as teacher.decay=0.9; repeatable")
    ] = None,
    output: Annotated[Path, typer.Option(help="the .safetensors file to write, for `sshpe predict`")] = Path(
        "trained.safetensors"
    ),
    as_json: Annotated[
        bool, typer.Option("--json", help="print key, metrics and file as JSON, and nothing else")
    ] = False,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 leaves it to torch")] = 0,
    workers: WorkersOption = 0,
    accelerator: AcceleratorOption = "auto",
    devices: DevicesOption = "auto",
    tensorboard: TensorboardOption = False,
    pack: PackOption = False,
    cuda_graphs: GraphsOption = False,
) -> None:
    """Train a network on your own people, measure it, and write it for `sshpe predict`."""
    from sshpe_lib.data.sources import own
    from sshpe_lib.errors import SSHPEError
    from sshpe_lib.profiles import assignments
    from sshpe_lib.training import run as train_on

    if unlabeled is None and unlabeled_images is not None:
        raise SSHPEError("--unlabeled-images is the folder of a further file; name it by --unlabeled")
    told, made = train_on(
        output, machine_of(threads, workers, accelerator, devices, tensorboard, pack, cuda_graphs),
        own(people, images, category), own(val, val_images, category), method, profile, labels=labels,
        unlabeled=None if unlabeled is None else own(unlabeled, unlabeled_images, category), backbone=backbone,
        size=size, schedule=schedule, protocol=protocol, seed=seed,
        set=assignments(settings or [], "--set", "teacher.decay=0.9"),
    )  # fmt: skip
    if told:
        typer.echo(made if as_json else told)


@networks_app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="pictures with people, or folders of them")],
    weights: Annotated[
        Path | None,
        typer.Option(
            help="a network that `sshpe train`, `export` or `weights convert` wrote; the package's own if left out"
        ),
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(
            help="where the people are: a JSON list of {file_name, bbox}, bbox being x, y, width and height, or a COCO "
            "file, in stored pixels; of that the boxes of people, but for crowds. Without it every picture is turned "
            "upright by its EXIF tag, and a top-down network takes it for one person; a bottom-up one needs none"
        ),
    ] = None,
    category: CategoryOption = None,
    output: Annotated[Path, typer.Option(help="the folder for keypoints.json and the drawn pictures")] = Path(
        "."
    ),
    as_json: Annotated[bool, typer.Option("--json", help="print the COCO results, and nothing else")] = False,
    accelerator: AcceleratorOption = "auto",
) -> None:
    """Find people's joints in pictures: writes keypoints.json (COCO results) and a drawn copy of each picture."""
    from sshpe_lib.predict import run

    told, found = run(images, weights, boxes, output, machine_of(1, 0, accelerator, "auto"), category)
    if told:
        typer.echo(found if as_json else told)


@networks_app.command()
def evaluate(
    network: Annotated[
        str,
        typer.Argument(
            help="a .safetensors file that `sshpe train`, `export` or `weights convert` wrote, or the key of a record"
        ),
    ],
    annotations: Annotated[
        Path | None,
        typer.Option(help="a COCO-format keypoint file; the network's own test people if left out"),
    ] = None,
    images: Annotated[Path | None, typer.Option(help="its images; found beside the file if left out")] = None,
    category: CategoryOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="a folder for results.json, breakdown.png, failures.html and, of a record with a teacher, heatmaps.png"
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="print the statistics as JSON, and nothing else")
    ] = False,
    accelerator: AcceleratorOption = "auto",
) -> None:
    """Measure a network on labelled people: AP, what became of every joint, the worst cases."""
    from sshpe_lib.evaluating import run

    machine = machine_of(1, 0, accelerator, "auto")
    told, statistics = run(network, annotations, images, output, machine, category)
    if told:
        typer.echo(statistics if as_json else told)


@networks_app.command()
def export(
    key: Annotated[
        str,
        typer.Argument(
            help="the key of a record, or its first letters; or a .safetensors file that this, `sshpe train` or "
            "`weights convert` wrote"
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            help="the file to write: .safetensors for `sshpe predict`, .onnx, or .pt2 for torch.export.load; "
            "KEY.safetensors if left out"
        ),
    ] = None,
) -> None:
    """Write a trained network for `sshpe predict`, or as one graph from crops (uint8 RGB) to keypoints."""
    from sshpe_lib import exporting

    typer.echo(exporting.export(key, output))


@networks_app.command("test-dev")
def test_dev(
    key: Annotated[str, typer.Argument(help="the key of a record, or its first letters")],
    detections: Annotated[
        Path | None,
        typer.Option(help="a detector's results file for test-dev's images; of a top-down network"),
    ] = None,
    image_info: Annotated[Path, typer.Option(help="COCO's image_info_test-dev2017.json")] = Path(
        "coco/annotations/image_info_test-dev2017.json"
    ),
    images: Annotated[Path, typer.Option(help="the folder of the images")] = Path("coco/images/test2017"),
    output: Annotated[Path, typer.Option(help="the folder for the zip file")] = Path("."),
    name: Annotated[str, typer.Option(help="what the server shall call the results")] = "sshpe",
    scales: Annotated[
        list[float] | None,
        typer.Option(
            "--scale",
            help="test a bottom-up network at this scale, told in the file's name; repeatable, 1 among them; by "
            "default at the record's own scales",
        ),
    ] = None,
    accelerator: AcceleratorOption = "auto",
) -> None:
    """Predict COCO's test-dev with a trained network, and write the file that its server takes."""
    from sshpe_lib.test_dev import submit

    machine = machine_of(1, 0, accelerator, "auto")
    written = submit(key, detections, image_info, images, output, name, machine, scales or ())
    if written is not None:
        typer.echo(written)
