import json

import pytest
from registries import restored_registries

from cmi_bench.config import ProtocolName
from cmi_bench.data import fields
from cmi_bench.data.datasets import all_datasets, dataset_of_row, dataset_of_source
from cmi_bench.data.declarations import (
    Declaration,
    check_name,
    declare,
    declare_rows,
    name_of_file,
    read_declaration,
)
from cmi_bench.errors import UserError
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.evaluation.protocols import PROTOCOLS
from cmi_bench.evaluation.reading import ResultRow, read_rows
from cmi_bench.evaluation.samples import SampleReader

MINE = Declaration("mine", False, ("musicality",), group_by=(("genre", "genre"),))
PAIRS = Declaration("mine", True, ("preference",))


@pytest.fixture(autouse=True)
def registries():
    with restored_registries():
        yield


def scored(declaration, *labels, **more):
    return [
        {"source": f"own:{declaration.name}", "musicality": label, "predicted_musicality": label * 2, **more,
         "inference_valid_a": True, fields.DECLARED: json.loads(json.dumps(declaration.to_json()))}
        for label in labels
    ]  # fmt: skip


@pytest.mark.parametrize("declaration", [MINE, PAIRS, Declaration("x.y-z", False, ("alignment",), scale=(0.0, 100.0))])
def test_what_a_row_declares_is_read_again(declaration):
    assert read_declaration(json.loads(json.dumps(declaration.to_json()))) == declaration


@pytest.mark.parametrize(
    "value", [{}, "mine", MINE.to_json() | {"tasks": ["quality"]}, PAIRS.to_json() | {"group_by": 3}]
)
def test_what_declares_nothing_is_refused(value):
    with pytest.raises(UserError, match="declares no dataset"):
        read_declaration(value)


def test_rows_are_understood_by_themselves():
    (record,) = evaluate(scored(MINE, 80.0, 20.0, -5.0)).summary
    assert (record.dataset, record.task, record.n, record.metrics["SRCC"]) == ("mine", "musicality", 3, 1.0)


def test_a_name_that_holds_the_name_of_a_dataset_of_the_benchmark_is_its_own():
    dataset = declare(Declaration("my_PAM", False, ("musicality",)))
    assert dataset_of_source("own:my_PAM") is dataset
    assert dataset_of_row({"source": "own:my_PAM"}) is dataset


@pytest.mark.parametrize("name", ["PAM", "pam", "CMI-Pref", "music_arena"])
def test_a_name_of_the_benchmark_is_taken(name):
    with pytest.raises(UserError, match=r"There is a dataset .* already"):
        declare(Declaration(name, False, ("musicality",)))


def test_a_later_table_takes_the_place_of_an_earlier_one_of_its_name():
    declare(MINE)
    assert declare(PAIRS).is_paired
    assert [dataset.name for dataset in all_datasets()].count("mine") == 1


def test_results_of_one_table_grouped_in_two_ways_are_one_dataset():
    other = Declaration("mine", False, ("musicality", "alignment"), group_by=(("system", "model_a"),))
    declare_rows([*scored(MINE, 1.0), *scored(other, 2.0)])
    dataset = dataset_of_source("own:mine")
    assert [grouping.key for grouping in dataset.groupings] == ["genre", "system"]
    declare_rows(scored(MINE, 1.0))
    assert dataset_of_source("own:mine") is dataset
    reader = SampleReader(dataset, PROTOCOLS[ProtocolName.strict])
    read_rows([ResultRow(1, raw) for raw in scored(MINE, 1.0)], reader)
    assert [task.name for task in reader.tasks] == ["musicality"]


def test_pairs_and_single_songs_are_not_one_dataset():
    with pytest.raises(UserError, match="two datasets called mine"):
        declare_rows([*scored(MINE, 1.0), *scored(PAIRS, 2.0)])


@pytest.mark.parametrize(
    ("stem", "name"), [("ratings", "ratings"), ("My ratings (v2)", "My_ratings_v2"), ("\u8a55\u4fa1", "own")]
)
def test_files_have_valid_names(stem, name):
    assert check_name(name_of_file(stem)) == name


def test_a_name_that_cannot_be():
    with pytest.raises(UserError, match="cannot be the name"):
        check_name("my/songs")
