"""What is reserved for a file is its size, not the most that it may have."""

import tracemalloc

from headstart import limits


def test_a_small_file_takes_little_memory_whatever_the_limit(tmp_path):
    (tmp_path / "small").write_bytes(b"content")
    tracemalloc.start()
    assert limits.read_bytes(tmp_path / "small", 4_000 * limits.MB, "a json") == b"content"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000
