"""Where a run is seen, and the server that shows a local store."""

import socket
import urllib.request

import pytest
from mlflow_server import free_port

from cmi_bench.config import TrackingConfig
from cmi_bench.errors import UserError
from cmi_bench.tracking.mlflow_store import find_experiment, open_experiment
from cmi_bench.tracking.mlflow_ui import how_to_look, runs_page, served


def test_links_lead_to_the_models_and_runs_and_show_no_password():
    said = how_to_look("https://me:SECRET@host:5000/", "7")
    assert said.endswith("https://***@host:5000/#/experiments/7/models?workflowType=machine_learning")
    assert runs_page("http://host", "7") == "http://host/#/experiments/7/runs?workflowType=machine_learning"


def test_a_store_in_a_file_is_named_by_the_command_that_opens_it():
    said = how_to_look("sqlite:////my runs/mlflow.db", "1")
    assert "cmi-bench ui --store 'sqlite:////my runs/mlflow.db'" in said
    assert "http://127.0.0.1:5000/#/experiments/1/models?workflowType=machine_learning" in said


def test_a_port_that_is_taken_is_told(settings):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"Port {port} is taken"), served(settings, port=port):
            pass


def test_a_server_is_left_to_itself():
    with served(TrackingConfig("there", uri="http://127.0.0.1:9")) as address:
        assert address == "http://127.0.0.1:9"


def test_an_experiment_is_found_and_never_made(settings, tmp_path):
    _, made = open_experiment(settings)
    assert find_experiment(settings) == made
    settings.experiment = "other"
    with pytest.raises(UserError, match="has no experiment 'other'"):
        find_experiment(settings)
    with pytest.raises(UserError, match="There is no MLflow store at"):
        find_experiment(TrackingConfig("here", uri=f"sqlite:///{tmp_path}/none.db"))
    with pytest.raises(UserError, match="names no store"):
        find_experiment(TrackingConfig("none"))


@pytest.mark.slow
def test_a_store_is_served_as_long_as_it_is_wanted(settings):
    port = free_port()
    with served(settings, port=port) as address, urllib.request.urlopen(f"{address}/health") as answer:
        assert answer.status == 200
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health")


@pytest.mark.slow
def test_a_server_that_ends_says_why(tmp_path):
    (tmp_path / "text.db").write_text("no database, but long enough to be taken for the header of one " * 20)
    settings = TrackingConfig("here", uri=f"sqlite:///{tmp_path}/text.db")
    with pytest.raises(UserError, match="The MLflow server ended: "), served(settings, port=free_port()):
        pass
