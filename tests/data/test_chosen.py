from copy import deepcopy
from pathlib import Path

import pytest
from command_line import configured
from omegaconf.errors import OmegaConfBaseException
from own_tables import write_song, write_table
from registries import restored_registries

from cmi_bench.config import SubsetConfig, TableConfig
from cmi_bench.data.chosen import load_chosen
from cmi_bench.data.manifest import update_manifest
from cmi_bench.data.rows import names_anywhere
from cmi_bench.errors import UserError
from cmi_bench.hydra_errors import explain
from cmi_bench.tracking.scored_data import describe_datasets


@pytest.fixture(autouse=True)
def registries():
    with restored_registries():
        yield


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_table(tmp_path / name / "r.csv", [{"song": "a.wav", "rating": 1}, {"song": "b.wav", "rating": 2}])
    return tmp_path


@pytest.fixture(scope="module")
def mini():
    return configured("data=mini")


@pytest.fixture
def config(mini, mini_root, tables):
    """The mini benchmark, and two tables beside it."""
    config = deepcopy(mini)
    config.data.root, config.data.jsonl = str(mini_root), f"{mini_root}/all_test.jsonl"
    config.data.own = {name: TableConfig(csv=f"{tables}/{folder}/r.csv")
                       for name, folder in (("first", "one"), ("My-Second", "two"))}  # fmt: skip
    return config


ALL = ["pam", "musiceval", "music_arena", "cmi_pref", "own"]


@pytest.mark.parametrize(
    ("datasets", "limit", "counts"),
    [
        (ALL, None, {"PAM": 30, "first": 2, "My-Second": 2}),
        (ALL, 1, {"PAM": 1, "first": 1, "My-Second": 1}),
        (["my_second"], None, {"PAM": 0, "first": 0, "My-Second": 2}),
        (["own"], None, {"PAM": 0, "first": 2, "My-Second": 2}),
        (["pam", "first"], None, {"PAM": 30, "first": 2, "My-Second": 0}),
        (["pam"], None, {"PAM": 30, "first": 0, "My-Second": 0}),
    ],
)
def test_own_datasets_stand_beside_the_four(config, datasets, limit, counts):
    config.subset, config.limit = SubsetConfig("some", datasets), limit
    rows = load_chosen(config).rows.rows
    assert {name: sum(row.dataset.name == name for row in rows) for name in counts} == counts


def test_rows_of_all_files_have_different_numbers(config, tables):
    found = load_chosen(config)
    numbers = [row.index for row in found.rows.rows]
    assert len(set(numbers)) == len(numbers)
    assert {table.name: table.root for table in found.tables} == {"first": tables / "one", "My-Second": tables / "two"}


def test_an_unknown_dataset_is_answered_with_the_nearest(config):
    config.subset = SubsetConfig("my_secnd", ["my_secnd"])
    with pytest.raises(UserError, match=r"(?s)no subset=my_secnd.*Did you mean my_second"):
        load_chosen(config)


def test_two_names_that_are_one_word_of_subset(config):
    config.data.own = {"a-b": config.data.own["first"], "a_b": config.data.own["first"]}
    with pytest.raises(UserError, match="are one name in subset=a_b"):
        load_chosen(config)


def test_a_table_alone_has_none_of_the_benchmarks_rows(tables):
    config = configured("data=custom", f"data.csv={tables}/one/r.csv", "data.name=mine", "data.columns.song=SONG")
    assert [row.audio_a for row in load_chosen(config).rows.rows] == ["a.wav", "b.wav"]
    config.data.split = "train"
    with pytest.raises(UserError, match="no row of split 'train'; it has test"):
        load_chosen(config)
    config.subset = SubsetConfig("pam", ["pam"])
    with pytest.raises(UserError, match=r"(?s)no subset=pam.*Known: all, mine"):
        load_chosen(config)


def test_a_table_of_data_that_has_rows_is_a_mistake(config):
    config.data.csv = "ratings.csv"
    with pytest.raises(UserError, match=r"(?s)data=mini has rows already.*data=custom data.csv=ratings.csv"):
        load_chosen(config)


def test_own_data_without_a_table():
    with pytest.raises(OmegaConfBaseException) as raised:
        configured("data=custom")
    assert "data=custom needs a table" in explain(raised.value)


def test_digests_do_not_hang_on_where_songs_are(tables):
    """The same table as a run's only data, and beside others under a root of its own."""
    for name in "ab":
        write_song(tables / "one" / f"{name}.wav", hertz=100.0 * ord(name))
    alone = configured("data=custom", f"data.csv={tables}/one/r.csv", "data.name=mine")
    beside = configured(f"+data.own={{mine: {{csv: {tables}/one/r.csv}}}}", "subset=mine", f"data.root={tables}/two")
    digests = []
    for config in (alone, beside):
        rows, root = load_chosen(config).rows.rows, Path(config.data.root)
        paths = [row.audio_a for row in rows]
        manifest = update_manifest(root, tables / "manifest.parquet", paths)
        digests.append((manifest.audio_digest(paths, names_anywhere(rows)), describe_datasets(rows, manifest)))
    assert digests[0] == digests[1]


def test_any_name_can_be_a_subset():
    assert configured("subset=my_songs").subset == SubsetConfig("my_songs", ["my_songs"])
