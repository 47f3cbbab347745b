"""A trained network for other programs: one graph from pixels to keypoints, for torch.export and ONNX."""

from __future__ import annotations

import contextlib
import copy
import io
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from sshpe_lib import parts, trained
from sshpe_lib.augment.pixels import normalize
from sshpe_lib.codec import Codec
from sshpe_lib.errors import SSHPEError
from sshpe_lib.trained import Trained
from sshpe_lib.writing import written_whole

SUFFIXES = (".safetensors", ".pt2", ".onnx")
MOST = 4096  # crops in a batch


class KeypointNetwork(nn.Module):
    """Crops (B, 3, H, W), uint8 RGB, to keypoints (B, K, 3): x and y in crop pixels, and the score.

    The normalisation before the network and the codec's reading of its heatmaps are part of it. A crop shows the box
    grown to the input's aspect and by 1.25 (`geometry.box_to_center_size`, `geometry.crop_matrix`, unbiased unless the
    codec is "msra"). There is no flip test, which a record's AP may have.
    """

    def __init__(self, network: nn.Module, codec: Codec, bgr: bool = False) -> None:
        super().__init__()
        self.network, self.codec, self.bgr = network, codec, bgr

    def forward(self, images: Tensor) -> Tensor:
        """Find the keypoints of the one person of every crop."""
        pixels = images.flip(1) if self.bgr else images
        points, scores = self.codec.decode(self.network(normalize(pixels)).float())
        return torch.cat([points, scores[..., None]], dim=-1)


def whole(made: Trained) -> KeypointNetwork:
    """A copy of the network with everything around it, in evaluation mode and float32.

    Raises SSHPEError for a bottom-up network, whose grouping of joints into people is no graph of tensors.
    """
    experiment = made.experiment
    if experiment.bottom_up:
        raise SSHPEError(
            f"{experiment.model} finds people by grouping joints, which no exported graph can hold; use its "
            ".safetensors file with sshpe predict"
        )
    codec = parts.codec_of(experiment.data)
    network = copy.deepcopy(made.network).float()
    return KeypointNetwork(network, codec, experiment.data.color == "bgr").eval()


def program(made: Trained) -> torch.export.ExportedProgram:
    """The graph for any number of crops, 1 to 4,096, on the CPU wherever the network is.

    Raises SSHPEError as `whole`.
    """
    traced = whole(made).cpu()  # a graph traced on a GPU would run on nothing else
    width, height = made.experiment.data.input_size
    example = torch.zeros(2, 3, height, width, dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1, max=MOST)
    return torch.export.export(traced, (example,), dynamic_shapes=({0: batch},))


def write(made: Trained, path: Path) -> None:
    """Write a network, whole or not at all, as the file's ending says.

    .safetensors: with its experiment inside (`trained.save`); .pt2 and .onnx: the graph, which `torch.export.load` and
    ONNX runtimes read. Raises SSHPEError for another ending, where the packages for ONNX are not installed, and as
    `whole`.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise SSHPEError(f"{path}: give the name one of the endings {', '.join(SUFFIXES)}")
    if path.suffix == ".safetensors":
        trained.save(made, path)
        return
    with written_whole(path, suffix=path.suffix) as partial:
        if path.suffix == ".pt2":
            file = io.BytesIO()  # of a full disk, torch's own writing tells in a page of C++
            torch.export.save(program(made), file)
            partial.write_bytes(file.getbuffer())
        else:
            _onnx(made).save(partial)


def _onnx(made: Trained) -> torch.onnx.ONNXProgram:
    try:
        import onnxscript  # noqa: F401  torch.onnx says it in many more words
    except ModuleNotFoundError:
        raise SSHPEError("ONNX needs two packages more; pip install 'sshpe[onnx]'") from None
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # of the exporter's own making
        return torch.onnx.export(  # type: ignore[return-value]  # None without dynamo alone
            program(made), dynamo=True, input_names=["images"], output_names=["keypoints"], verbose=False
        )


def export(key: str, output: Path | None = None) -> str:
    """The command `sshpe export`: writes a network, and returns the path and what it is, in words.

    key: of a record, or its first letters, or a .safetensors file. Raises SSHPEError as `trained.named`
    and `write`.
    """
    if key.endswith(".safetensors") and output is None:
        raise SSHPEError(f"{key}: name the file to write by --output, ending in {' or '.join(SUFFIXES)}")
    made = trained.named(key)
    path = output or Path(f"{made.key}.safetensors")
    write(made, path)
    told = f"{path}: {made.experiment.model}, {made.about}"
    if path.suffix != ".safetensors" and made.experiment.evaluate.flip:
        told += "; it is measured with a flip test, which a graph does not make"
    return told
