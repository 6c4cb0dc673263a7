"""What is said when something is missing; a whole comparison with a stand-in for the public code, a small network."""

import json
import sys

import pytest

from benchmarks import against_public
from benchmarks.against_public import check_tensors, main, take_turns
from benchmarks.side_by_side import Case, ColdStart
from cmi_bench.errors import UserError

STAND_IN = """
from cmi_bench.models.base import BenchmarkBatchInput
from cmi_bench.models.cmi_rm import CmiRM

def load_audio(path):
    raise RuntimeError("no decoder")

class Model:
    def __init__(self, network):
        self.network = network

    def state_dict(self):
        from cmi_bench.models.cmi_rm.checkpoint import checkpoint_name
        return {checkpoint_name(name): tensor for name, tensor in self.network.state_dict().items()}

class RewardModelInference:
    def __init__(self, checkpoint, config, device, bf16):
        print("noise on stdout")
        self.own = CmiRM(checkpoint, config, device)
        self.model = Model(self.own.loaded.network)

    def score_batch(self, items, batch_size, max_dur):
        return self.own.score_batch([BenchmarkBatchInput(**item) for item in items], batch_size, max_dur) + 1e-3
"""


def messages(capsys, *words):
    with pytest.raises(SystemExit) as caught:
        sys.argv = ["against_public", *map(str, words)]
        main()
    return str(caught.value) + capsys.readouterr().err


@pytest.fixture
def checkout(tmp_path):
    """A folder that looks like the public repository from afar."""
    module = tmp_path / "checkout" / "baselines" / "inference.py"
    module.parent.mkdir(parents=True)
    module.write_text("import not_there_at_all\n")
    return module.parents[1]


@pytest.fixture(autouse=True)
def own_words(monkeypatch):
    monkeypatch.setattr(sys, "argv", sys.argv)


def test_a_folder_without_the_public_code_is_told(tmp_path, capsys):
    said = messages(capsys, "--repo", tmp_path)
    assert f"{tmp_path} is no checkout of the public repository" in said
    assert "git clone https://github.com/Haiwen-Xia/CMI-RewardBench" in said


def test_an_interpreter_that_is_not_there_is_told(checkout, capsys):
    assert "There is no interpreter nowhere/python" in messages(
        capsys, "--repo", checkout, "--python", "nowhere/python"
    )


def test_a_device_or_precision_that_is_not_there_is_told(checkout, capsys):
    assert "There is no device 'gpu0'" in messages(capsys, "--repo", checkout, "--device", "gpu0")
    assert "There is no GPU for --device cuda:99" in messages(capsys, "--repo", checkout, "--device", "cuda:99")
    assert "--precision=tf32 needs a GPU" in messages(capsys, "--repo", checkout, "--precision", "tf32")


def test_a_module_that_is_missing_is_told_before_anything_is_written(checkout, capsys, monkeypatch):
    monkeypatch.setattr(against_public, "write_whole_checkpoint", None)
    said = messages(capsys, "--repo", checkout)
    assert f"{sys.executable} has no module 'not_there_at_all'" in said
    assert "baselines/requirements.txt" in said


@pytest.mark.parametrize("words", [("--batch", "0"), ("--minutes", "-1"), ("--busy", "-1"), ("--rounds", "0")])
def test_numbers_that_make_no_sense_are_told(checkout, capsys, words):
    assert words[0] in messages(capsys, "--repo", checkout, *words)


def test_tensors_that_the_public_code_passes_over_are_told(tmp_path):
    check_tensors(["null_text_embedding", "text_module.model.pooler.dense.bias"], [], tmp_path)
    with pytest.raises(UserError, match=r"score_projector.0.bias \(1 missing, 0 left over\)"):
        check_tensors(["null_text_embedding", "score_projector.0.bias"], [], tmp_path)
    with pytest.raises(UserError, match=r"audio_module.proj.bias \(0 missing, 1 left over\)"):
        check_tensors([], ["audio_module.proj.bias"], tmp_path)


class Side:
    """Answers at once and notes when it was asked."""

    def __init__(self, name, asked):
        self.name, self.asked = name, asked

    def ask(self, *, items, batch_size, max_dur):
        self.asked.append((self.name, len(items), batch_size, max_dur))
        measured = {"seconds": 1.0, "processor_seconds": 2.0, "processor_seconds_since_start": 9.0}
        return measured | {"memory_gb": 4.0, "device_gb": None, "scores": [[0.0, 0.0]] * len(items)}


class Silence:
    """Clips of nothing."""

    def items(self, case):
        return [{}] * case.clips


def turns_of(cases, **limits):
    asked = []
    sides = {name: Side(name, asked) for name in ("public", "ours")}
    return asked, list(take_turns(sides, cases, Silence(), busy=0, **limits))


def test_who_is_first_changes_from_turn_to_turn():
    asked, turns = turns_of(
        [Case(1, 30, references=False), Case(8, 30, references=False)], rounds=2, until=float("inf")
    )

    assert [name for name, *_ in asked] == ["public", "ours", "ours", "public", "ours", "public", "public", "ours"]
    assert asked[2] == ("ours", 8, 8, 30)
    assert [turn.round for turn in turns] == [0, 0, 0, 0, 1, 1, 1, 1]


def test_a_case_that_would_end_too_late_is_left_out_but_for_the_first_one():
    _, turns = turns_of([Case(1, 30, references=False), Case(8, 30, references=False)], rounds=2, until=0.0)
    assert {turn.case.batch for turn in turns} == {1}
    assert len(turns) == 2


def test_what_was_measured_is_kept_when_it_ends_early(tmp_path, monkeypatch, capsys):
    def measure(args, measured):
        measured.cold += [ColdStart(side, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0) for side in ("public", "ours")]
        raise UserError("The public code ended with exit code -9 (killed: for memory?).")

    monkeypatch.setattr(against_public, "measure", measure)
    monkeypatch.chdir(tmp_path)

    assert "exit code -9" in messages(capsys, "--repo", tmp_path)
    assert "Cold" in (tmp_path / "outputs" / "bench" / "public.txt").read_text()
    document = json.loads((tmp_path / "outputs" / "bench" / "public.json").read_text())
    assert (len(document["cold"]), document["turns"]) == (2, [])


@pytest.mark.slow
def test_a_whole_comparison(narrow, checkout, tmp_path, monkeypatch, capsys):
    (checkout / "baselines" / "inference.py").write_text(STAND_IN)
    encoder = checkout / "muq" / "muq_mulan" / "muq_mulan.py"
    encoder.parent.mkdir(parents=True)
    encoder.touch()
    monkeypatch.chdir(tmp_path)
    words = ("--minutes", "0.01", "--cold", "1", "--batch", "1", "--seconds", "2", "--threads", "1")
    monkeypatch.setattr(sys, "argv", ["against_public", "--repo", str(checkout), *words])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code is None
    said = capsys.readouterr().out
    assert "the public code cannot decode here (no decoder)" in said
    document = json.loads((tmp_path / "outputs" / "bench" / "public.json").read_text())
    assert document["agreement"]["largest difference of scores"] == pytest.approx(1e-3, rel=1e-2)
    assert {start["side"] for start in document["cold"]} == {"public", "ours"}
    assert [turn["case"]["seconds"] for turn in document["turns"]] == [2, 2]
    assert document["left_out"][-1] == "commands: the public code's cannot decode here"
