# Needs Python 3.11 or newer, make and git. Everything is installed into .venv, and nothing outside it.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	$$p -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXTRAS := $(VENV)/.installed-extras

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all lint type bench bench-training bench-startup bench-overhead bench-before bench-gpu bench-time bench-study bench-jobs bench-processes bench-map bench-strategies bench-detectors bench-references bench-index bench-growth bench-merging bench-predict bench-tiles bench-onnx docs clean

help: ## list these rules
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## make .venv with everything in it (other rules do it when needed)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer found; give one: make install PYTHON=/path/to/python3" >&2; exit 1; }
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP) ## train small detectors on drawn shapes and show what transfer was worth (minutes)
	$(BIN)/python -m headstart.demo

# A process per processor, up to four (each holds torch); what measures time or memory has the machine to itself.
PARALLEL := -n logical --maxprocesses 4 --dist worksteal

test: $(STAMP) ## run the tests
	$(BIN)/python -m pytest -m 'not slow and not alone' $(PARALLEL)
	$(BIN)/python -m pytest -m 'alone and not slow'

# Only where they are tested: Ray alone brings thirty packages.
$(EXTRAS): $(STAMP)
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev,workspaces,slurm,ray]'
	@touch $@

test-all: $(EXTRAS) ## run the tests, slow ones included, and those of the extras, which it installs
	$(BIN)/python -m pytest -m 'not alone' $(PARALLEL)
	$(BIN)/python -m pytest -m alone

lint: $(STAMP) ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(STAMP) ## check types
	$(BIN)/pyright src benchmarks

bench: bench-training bench-references bench-startup bench-overhead bench-predict bench-time bench-study bench-jobs bench-processes bench-map bench-index bench-growth bench-onnx bench-strategies bench-detectors bench-tiles ## run the timed comparisons, one after another

bench-training: $(STAMP) ## images a second against torchvision in a plain loop (minutes; needs HEADSTART_DATA)
	$(BIN)/python benchmarks/training.py

bench-gpu: $(STAMP) ## images a second on one GPU against torchvision's best plain loop (five minutes; needs a GPU)
	$(BIN)/python benchmarks/gpu.py

bench-startup: $(STAMP) ## from the command to the first step, against the imports (a minute)
	$(BIN)/python benchmarks/startup.py

bench-overhead: $(STAMP) ## what Lightning and the callbacks cost over a bare loop (minutes; needs HEADSTART_DATA)
	$(BIN)/python benchmarks/overhead.py

bench-before: $(STAMP) ## training of every model against another checkout: make bench-before BEFORE=../before (minutes)
	$(BIN)/python benchmarks/before.py $(BEFORE)

bench-jobs: $(STAMP) ## a study with one to four cells at a time (minutes)
	$(BIN)/python benchmarks/jobs.py

bench-predict: $(STAMP) ## pictures a second of prediction against torchvision's own loop (minutes; needs HEADSTART_DATA)
	$(BIN)/python benchmarks/predict.py

bench-time: $(STAMP) ## time to a given mAP against the same (half an hour; needs HEADSTART_DATA)
	$(BIN)/python benchmarks/time_to_map.py

bench-study: $(STAMP) ## a study whose cells share a frozen prefix against separate runs (minutes)
	$(BIN)/python benchmarks/study.py

bench-processes: $(STAMP) ## two processes against one, and memory of head_only (minutes; needs HEADSTART_DATA)
	$(BIN)/python benchmarks/processes.py

bench-strategies: $(STAMP) ## sources and strategies on real data, at equal cost (90 minutes; needs HEADSTART_DATA)
	$(BIN)/python benchmarks/strategies.py

bench-detectors: $(STAMP) ## every detector, neck and attention on real data, at equal cost (90 minutes; needs HEADSTART_DATA)
	$(BIN)/python benchmarks/detectors.py

bench-references: $(STAMP) ## training of D-FINE, RT-DETR, YOLOX and YOLOv3 against the programs they are known by (minutes; needs HEADSTART_DATA): YOLOX=<checkout>
	$(BIN)/python benchmarks/references.py $(if $(YOLOX),--yolox $(YOLOX))

bench-tiles: $(STAMP) ## tiled against whole pictures on real data, at equal training time (20 minutes; needs HEADSTART_DATA)
	$(BIN)/python benchmarks/tiles.py

bench-index: $(STAMP) ## the index of a data set as large as COCO: seconds and memory (minutes; draws 1 GB)
	$(BIN)/python benchmarks/index.py

bench-growth: $(STAMP) ## an epoch of 1,000, 10,000 and 100,000 pictures: seconds and memory (20 minutes; draws 300 MB)
	$(BIN)/python benchmarks/growth.py

bench-merging: $(STAMP) ## soft-NMS, fusion and test-time augmentation on runs=<folder>,<folder> (minutes)
	$(BIN)/python benchmarks/merging.py $(runs)

bench-map: $(STAMP) ## mAP of 5,000 images and 500,000 detections against torchmetrics with pycocotools (minutes)
	$(BIN)/python benchmarks/map.py

bench-onnx: $(STAMP) ## predicting in onnxruntime, float32 and int8, against PyTorch (a minute)
	$(BIN)/python benchmarks/onnx_files.py

docs: $(STAMP) ## write the pages that are made from tables of the code, and the site of all pages in outputs/site
	$(BIN)/python docs/make_defects.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

clean: ## remove caches and builds; keep .venv, data and outputs
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
