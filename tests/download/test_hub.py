"""The hub: the login, and which state of a repository is fetched."""

import pytest

from cmi_bench.errors import UserError


def test_no_login(hub, root, prepare):
    hub.token = "hf_right"
    with pytest.raises(UserError, match="does not give BAAI/MusicEval without a login") as error:
        prepare()
    assert "hf auth login" in error.value.hint
    assert not (root / "human_eval").exists()  # known before hours of downloading


def test_a_login_that_is_not_accepted(hub, prepare, monkeypatch):
    hub.token = "hf_right"
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(UserError, match="does not accept the login for BAAI/MusicEval") as error:
        prepare()
    assert "hf_wrong" not in str(error.value)


def test_the_login_goes_to_the_hub_only(hub, root, prepare, monkeypatch):
    hub.token = "hf_right"
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    prepare()
    assert {request.authorization for request in hub.requests_for("/resolve/")} == {"Bearer hf_right"}
    others = [request for request in hub.log if request.path.startswith(("/zenodo/", "/raw/", "/cdn/"))]
    assert {request.authorization for request in others} == {None}
    assert "hf_right" not in "".join(path.read_text() for path in (root / ".prepare").rglob("*.json"))
