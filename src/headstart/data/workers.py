"""What became of a process that reads images, in the user's words. Imports no torch."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from headstart.errors import UserError


@contextmanager
def explained() -> Iterator[None]:
    """Raises `UserError` where a worker of the loader was killed; what a worker raises comes without its traceback."""
    try:
        yield
    except UserError as error:
        said = _said_in_worker(error)
        if said is None:
            raise
        raise UserError(said) from None
    except RuntimeError as error:
        words = next((words for told in _chain(error) if (words := _killed(told))), None)
        if words is None:
            raise
        raise UserError(words) from None


def begin(number: int) -> None:
    """In a worker: that the training is gone, it finds out on sending, and nobody needs to be told."""
    told = sys.excepthook  # of the thread that sends; what a picture raises goes another way
    sys.excepthook = lambda kind, *rest: None if issubclass(kind, ConnectionError) else told(kind, *rest)


def _said_in_worker(error: UserError) -> str | None:
    """PyTorch puts a worker's traceback into the message; the message proper stands at its end."""
    kind = type(error)
    if not re.match(r"Caught \w+ in DataLoader worker process", str(error)):
        return None
    return str(error).rpartition(f"{kind.__module__}.{kind.__qualname__}: ")[2].strip()


def _chain(error: BaseException) -> Iterator[str]:
    """The causes first: they say more."""
    if cause := error.__cause__ or error.__context__:
        yield from _chain(cause)
    yield str(error)


def _killed(told: str) -> str | None:
    if re.search(r"DataLoader worker.* is killed by signal: Bus error|torch_\S*>?: No space left on device", told):
        return f"A process that reads images found no shared memory (/dev/shm) left. {_SHARED} {_GOES_ON}"
    found = re.search(
        r"DataLoader worker \(pid\S* ([\d, ]+)\) (?:is killed by signal: ([^.]*)|exited unexpectedly)", told
    )
    if not found:
        return None
    how = f"was killed ({found[2].strip()})" if found[2] else "was killed, or ended"
    return f"A process that reads images (pid {found[1]}) {how}. {_MEMORY} {_GOES_ON}"


_SHARED = (
    "dataset.num_workers=0 needs none; a container is given more with --shm-size, and a smaller dataset.batch_size or "
    "dataset.max_size needs less."
)
_MEMORY = (
    "Where nobody did that, it was the system, for want of memory: fewer workers (dataset.num_workers=1, or 0), "
    "dataset.cache=none, or a smaller dataset.max_size or dataset.batch_size need less."
)
_GOES_ON = "The same command goes on after the last complete epoch."
