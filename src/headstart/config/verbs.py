"""What there is to say of each verb: a line, its settings, its groups, examples."""

from __future__ import annotations

from headstart.config import schema

GROUPS = {
    "dataset": "the target: images, boxes, and how many of them are used",
    "model": "the detector",
    "backbone": "its feature extractor",
    "source": "where learning starts",
    "strategy": "what learns, and how fast",
    "augment": "random changes to training images",
    "optimizer": "the step; its rate is the strategy's unless optimizer.lr is set",
    "scheduler": "the learning rate over the run",
    "trainer": "Lightning's Trainer, with all of its own arguments",
    "logger": "where numbers and pictures go; several: logger='[wandb,tensorboard]'",
    "experiment": "several choices and settings under one name",
}
ABOUT = {
    "train": "Fine-tunes a detector from a source to a data set of yours.",
    "evaluate": "The mAP of a finished run's exported model, over a whole split.",
    "rescore": "mAP of the detections that finished runs have kept, changed: needs neither model nor data.",
    "predict": "What a finished run's model finds in your pictures or videos: as COCO json, csv, YOLO text, and drawn.",
    "push": "A finished run's model and its card, to a repository of yours on huggingface.co.",
    "export": "A finished run's model as ONNX or as a program of torch.export; says what is in the file.",
    "doctor": "All that is wrong with a data set, what training does about it, and what changes that; doctor.json.",
    "compare": "What the runs of a study found: tables, advice, comparison.csv and report.html, from their records.",
    "report": "report.html and analysis.json of runs, written anew from their files, as each run does at its end.",
    "look": "What is in a data set, before any training: look.html, with pictures as augmentation makes them.",
    "convert": "A data set, written as COCO, VOC or YOLO into a new folder, pictures byte for byte; says what is lost.",
    "sources": "What learning can start from on this machine, and the words of the command line for it.",
}
ROOTS = {
    "train": schema.RunConfig,
    "evaluate": schema.EvaluateConfig,
    "rescore": schema.RescoreConfig,
    "predict": schema.PredictConfig,
    "push": schema.PushConfig,
    "export": schema.ExportConfig,
    "doctor": schema.DoctorConfig,
    "compare": schema.CompareConfig,
    "report": schema.ReportConfig,
    "look": schema.LookConfig,
    "convert": schema.ConvertConfig,
    "sources": schema.SourcesConfig,
}
OF_VERBS = {
    "evaluate": ("postprocess", "dataset"),
    "rescore": ("postprocess",),
    "predict": ("postprocess",),
    "doctor": ("dataset",),
    "look": ("dataset", "augment"),
    "convert": ("dataset",),
    "sources": ("model", "backbone"),
}
"""Groups and nodes of the verbs beside `train`, which has them all."""
EXAMPLES = {
    "train": """\
  headstart train model=retinanet strategy=partial_freeze
  headstart train dataset=voc_folder dataset.root=my/photos strategy=head_only trainer.max_epochs=10
  headstart train dataset=bccd dataset.fraction=0.1 seed=1 trainer=gpu
  headstart train -m source=scratch,imagenet strategy=full seed=0,1,2 study.jobs=2
  headstart train dataset=kangaroo source=pretrained dataset@source.dataset=voc2007_1000

  -m               run every combination        --help strategy   the settings of one group
  --cfg job        show what would run          --hydra-help      Hydra's own flags
  --config-dir D   add groups of your own, in folder D
  eval "$(headstart -sc install=bash)"          tab completion (zsh: bash's; fish: install=fish)
""",
    "evaluate": """\
  headstart evaluate run=outputs/<run> split=val
  headstart evaluate run=outputs/<run> postprocess.method=soft_nms postprocess.score_threshold=0.001
  headstart evaluate run=outputs/<run> 'postprocess.flips=[horizontal]' 'postprocess.scales=[0.75,1.25]'
  headstart evaluate model=outputs/<run>/model.onnx dataset=bccd
""",
    "rescore": """\
  headstart rescore run=outputs/<run> 'merge_classes={rbc: cell, wbc: cell}'
  headstart rescore run=outputs/<run>,outputs/<run>,outputs/<run> split=test
""",
    "predict": """\
  headstart predict run=outputs/<run> images=my/photos
  headstart predict run=outputs/<run> images='my/**/*.jpg' threshold=0.3 save=[csv]
  headstart predict run=outputs/<run> images=clip.mp4 thresholds.kangaroo=0.4 output=found

  Exits with 3 where a picture could not be read: it is named, and all others are written.
""",
    "push": """\
  headstart push run=outputs/<run> repo=me/kangaroos dry_run=true
  headstart push run=outputs/<run> repo=me/kangaroos private=false
""",
    "export": """\
  headstart export run=outputs/<run>
  headstart export run=outputs/<run> quantize=int8
  headstart export run=outputs/<run> nms=false size='[480,640]' output=for_opencv.onnx
  headstart export run=outputs/<run> to=torch_export
""",
    "doctor": """\
  headstart doctor dataset=voc_folder dataset.root=my/photos
  headstart doctor dataset=coco_folder dataset.root=my/photos fix=my/photos-clean
  headstart doctor --help dataset
""",
    "compare": """\
  headstart compare outputs/
  headstart compare outputs/ baseline=source=imagenet,strategy=full metric=map_50
  headstart compare outputs/ group=strategy split=test
  headstart compare outputs/ wandb=true
""",
    "report": "  headstart report outputs/<run>\n  headstart report outputs/\n",
    "look": """\
  headstart look dataset=voc_folder dataset.root=my/photos
  headstart look dataset=bccd augment=strong pictures=16
""",
    "convert": """\
  headstart convert dataset=voc_folder dataset.root=my/photos to=coco folder=my/photos_coco
  headstart convert dataset=bccd to=yolo folder=bccd_yolo ignored=drop
  headstart convert dataset=coco208 to=voc folder=coco208_voc link=true

  --help dataset   the settings of the data set
""",
    "sources": """\
  headstart sources
  headstart sources model=ssd_tf backbone=mobilenetv2_100
  headstart sources model=faster_rcnn folder=outputs/
""",
}
