from types import SimpleNamespace

import pytest
import torch

from cmi_bench.errors import UserError
from cmi_bench.scoring.embedding_cache import EmbeddingCache
from cmi_bench.scoring.embedding_items import COMPACT
from cmi_bench.scoring.store import ScoreStore
from cmi_bench.tasks.cache import run_cache
from cmi_bench.types import Score
from cmi_bench.utils.files import content_key


def config(folder, prune_gb=None):
    return SimpleNamespace(cache=SimpleNamespace(dir=folder and str(folder)), prune_gb=prune_gb)


@pytest.fixture
def filled(tmp_path):
    cache = EmbeddingCache(tmp_path / "embeddings")
    for i in range(3):
        cache.put(content_key(i=i), [torch.zeros(10)])
    ScoreStore(tmp_path / "scores/abcdef").append({"k": Score(0.0, 1.0)})
    return tmp_path


def test_it_counts_embeddings_and_scores(filled, capsys):
    run_cache(config(filled), filled)
    shown = capsys.readouterr().out
    assert "embeddings, for scoring" in shown
    assert "scores of model abcdef" in shown


def test_embeddings_for_training_are_counted_apart(filled, capsys):
    EmbeddingCache(filled / "embeddings").put(content_key(i=0) + COMPACT, [torch.zeros(10)])
    run_cache(config(filled), filled)
    shown = " ".join(capsys.readouterr().out.split())
    assert "│ embeddings, for scoring │ 3 │" in shown
    assert "│ embeddings, pooled for training │ 1 │" in shown


def test_it_counts_digests_of_weights(filled, capsys):
    (filled / "digests").mkdir()
    for name in "ab":
        (filled / "digests" / name).write_text("0" * 64)
    run_cache(config(filled), filled)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "digests of weights" in line]
    assert "│ 2 " in line


def test_it_empties_the_embeddings_and_leaves_the_scores(filled, capsys):
    run_cache(config(filled, prune_gb=0), filled)
    assert "Removed 3 embeddings" in capsys.readouterr().out
    assert EmbeddingCache(filled / "embeddings").size().entries == 0
    assert ScoreStore(filled / "scores/abcdef").size().entries == 1


def test_what_earlier_versions_left_is_shown_and_removed(filled, capsys):
    old = filled / "embeddings/ab/abcd.safetensors", filled / "scores/abcdef/0123.jsonl"
    for path in old:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 10)
    run_cache(config(filled), filled)
    assert "of earlier versions, not used" in capsys.readouterr().out
    run_cache(config(filled, prune_gb=1), filled)
    assert "Removed 2 files of earlier versions" in capsys.readouterr().out
    assert not any(path.exists() for path in old)
    assert EmbeddingCache(filled / "embeddings").size().entries == 3


def test_what_another_process_writes_to_stays_and_is_said(filled, capsys):
    writing = EmbeddingCache(filled / "embeddings")
    writing.put(content_key(i=9), [torch.zeros(10)])
    run_cache(config(filled, prune_gb=0), filled)
    assert "GB are left, in files that other processes are writing to" in capsys.readouterr().out
    assert content_key(i=9) in writing


def test_a_cache_at_an_address(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("cmi_bench.utils.addresses.cache_folder", lambda: tmp_path / "machine")
    address = f"memory://{tmp_path.name}"
    cache, scores = EmbeddingCache(f"{address}/embeddings"), ScoreStore(f"{address}/scores/abcdef")
    cache.put(content_key(i=0), [torch.zeros(10)])
    scores.append({"k": Score(0.0, 1.0)})
    cache.close(), scores.close()
    run_cache(config(address, prune_gb=0), tmp_path)
    shown = " ".join(capsys.readouterr().out.split())
    assert f"Cache in {address}" in shown and "Removed 1 embeddings" in shown
    assert "│ scores of model abcdef │ 1 │" in shown


def test_no_cache_is_said(tmp_path):
    with pytest.raises(UserError, match="keeps nothing"):
        run_cache(config(None), tmp_path)
