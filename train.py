"""`python train.py [overrides]`: the same as `headstart train`."""

import sys

from headstart.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
