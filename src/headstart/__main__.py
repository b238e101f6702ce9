"""`python -m headstart <verb>`."""

from headstart.cli import main

if __name__ == "__main__":
    main()
