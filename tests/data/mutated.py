"""Changes of a file that somebody, or a broken disk, might make: drawn by hypothesis."""

import re
from collections.abc import Callable

from hypothesis import strategies as st

WORDS = [
    *(
        b"0",
        b"-1",
        b"1e400",
        b"1e308",
        b"nan",
        b"inf",
        b"-inf",
        b"null",
        b"true",
        b'""',
        b"[]",
        b"{}",
        b'"',
        b",",
        b"\n",
    ),
    *(
        b"\0",
        b"\xff",
        b"9" * 5000,
        b"x" * 300 + b".png",
        str(10**30).encode(),
        b"../../x.png",
        b"/etc/passwd",
        b"a.png",
        b"<image>",
        b"&lol;",
    ),
    *(
        b"\\",
        b"\xef\xbb\xbf",
        b"\xd8\x00",
        b"1_0",
        b" ",
        b"",
        b"'",
        b"#",
        b": ",
        b"- ",
        b"*a",
        b"&a",
        b"<<",
        b"!!python/name:os",
    ),
    *("é日本🐜".encode(), "\u2028".encode(), "\u0661".encode(), b"\xed\xa0\x80", b"\r", b"\x85", b"\x1a"),
    *(
        b"[" * 3000,
        b"[" * 30_000,
        b'{"a":' * 30_000,
        b"<object>" * 10_000,
        b"x" * 90_000,
        b"1 " * 60_000,
        b"\n" * 30_000,
    ),
]
ODD = [
    *(
        None,
        True,
        0,
        -1,
        1.5,
        1e300,
        10**30,
        float("nan"),
        float("inf"),
        "",
        "x",
        "a.png",
        "\0",
        "\ud800",
        "nan",
        "1e400",
    ),
    *([], {}, [[]], [None], {"a": 1}, [1, 2, 3, 4, 5], "é日本"),
]
TOKEN = re.compile(rb"[^\s,:<>\"{}\[\]=/]+")
Change = Callable[[bytes], bytes]


def put(share: float, gone: int, word: bytes) -> Change:
    return lambda data: (at := int(share * len(data)), data[:at] + word + data[at + gone :])[1]


def flip(share: float, bit: int) -> Change:
    def change(data: bytes) -> bytes:
        at = min(int(share * len(data)), len(data) - 1)
        return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :] if data else data

    return change


def end(share: float) -> Change:
    return lambda data: data[: int(share * len(data))]


def swap_lines(one: float, other: float) -> Change:
    def change(data: bytes) -> bytes:
        lines = data.split(b"\n")
        i, j = (min(int(share * len(lines)), len(lines) - 1) for share in (one, other))
        lines[i], lines[j] = lines[j], lines[i]
        return b"\n".join(lines)

    return change


def swap_tokens(one: float, other: float) -> Change:
    def change(data: bytes) -> bytes:
        spans = [found.span() for found in TOKEN.finditer(data)]
        if len(spans) < 2:
            return data
        (a, b), (c, d) = sorted(spans[min(int(share * len(spans)), len(spans) - 1)] for share in (one, other))
        return data if a == c else data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]

    return change


def put_token(share: float, word: bytes) -> Change:
    def change(data: bytes) -> bytes:
        spans = [found.span() for found in TOKEN.finditer(data)]
        if not spans:
            return word
        a, b = spans[min(int(share * len(spans)), len(spans) - 1)]
        return data[:a] + word + data[b:]

    return change


SHARES = st.floats(0, 1)
PUT = st.one_of(st.sampled_from(WORDS), st.binary(max_size=4))
CHANGE = st.one_of(
    st.builds(put, SHARES, st.integers(0, 40), PUT),
    st.builds(put_token, SHARES, PUT),
    st.builds(swap_tokens, SHARES, SHARES),
    st.builds(swap_lines, SHARES, SHARES),
    st.builds(flip, SHARES, st.integers(0, 7)),
    st.builds(end, SHARES),
)
CHANGES = st.lists(CHANGE, min_size=1, max_size=4)


def replaced(value, path: list[float], odd):
    """The value within, that `path` leads to, in place of which `odd` stands."""
    if not path or not isinstance(value, dict | list) or not value:
        return odd
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key = keys[min(int(path[0] * len(keys)), len(keys) - 1)]
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = replaced(value[key], path[1:], odd)
    return copy
