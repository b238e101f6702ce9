"""The service of docs/serve.md answers as it says; its code is taken from there."""

import re
from pathlib import Path

import numpy as np
import pytest

import headstart

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "serve.md").read_text()


def test_the_service_of_the_page_answers_what_the_model_finds(model_folder, picture, tmp_path, monkeypatch) -> None:
    testclient = pytest.importorskip("fastapi.testclient")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    monkeypatch.setenv("RUN", str(model_folder))
    spaces: dict = {"__name__": "serve"}
    exec(compile(code, "serve.py", "exec"), spaces)
    client = testclient.TestClient(spaces["app"])
    picture(3).save(tmp_path / "a.png")
    body = (tmp_path / "a.png").read_bytes()
    rows = client.post("/detect?threshold=0", content=body).json()
    found = headstart.load(model_folder).predict(picture(3), threshold=0)
    assert [row["class"] for row in rows] == list(found.names)
    np.testing.assert_allclose([row["box"] for row in rows], found.boxes_xyxy, atol=1e-3)
    assert client.post("/detect", content=body).json() == []  # below one half, which is where nothing was chosen
    assert client.post("/detect", content=b"no picture").status_code == 422
    assert client.post("/detect?threshold=7", content=body).status_code == 422
