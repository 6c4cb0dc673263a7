"""XLM-RoBERTa against that of `transformers`."""

import json

import pytest
import torch

from cmi_bench.models.muq.config import read_xlm_roberta_config
from cmi_bench.models.muq.xlm_roberta import XlmRoberta

SIZES = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
    "type_vocab_size": 1,
    "pad_token_id": 1,
    "layer_norm_eps": 1e-5,
}


def build(folder, **changed):
    file = folder / "config.json"
    file.write_text(json.dumps(SIZES | changed))
    torch.manual_seed(0)
    return XlmRoberta(read_xlm_roberta_config(file)).eval()


def test_padding_changes_nothing(tmp_path):
    model = build(tmp_path)
    short, long = torch.tensor([[0, 5, 6, 2]]), torch.tensor([[0, 7, 8, 9, 10, 2]])
    padded = torch.cat([torch.nn.functional.pad(short, (0, 2), value=1), long])
    with torch.no_grad():
        together = model(padded, padded != 1)
        torch.testing.assert_close(together[:1, :4], model(short, short != 1))
        torch.testing.assert_close(together[1:], model(long, long != 1))


def test_a_configuration_of_another_kind_is_told(tmp_path):
    with pytest.raises(Exception, match="hidden_act is 'relu'"):
        build(tmp_path, hidden_act="relu")


@pytest.mark.slow
def test_it_computes_what_transformers_does(tmp_path):
    from transformers import XLMRobertaConfig, XLMRobertaModel

    model = build(tmp_path)
    theirs = XLMRobertaModel(XLMRobertaConfig(**SIZES), add_pooling_layer=False).eval()
    theirs.load_state_dict(model.state_dict())
    # A padding token inside of a text has no position there either.
    ids = torch.tensor([[0, 5, 1, 6, 2, 1, 1], [0, 7, 8, 9, 10, 11, 2]])
    valid = torch.tensor([[True] * 5 + [False] * 2, [True] * 7])
    with torch.no_grad():
        expected = theirs(input_ids=ids, attention_mask=valid.long()).last_hidden_state
        found = model(ids, valid)
    torch.testing.assert_close(found[valid], expected[valid], rtol=1e-5, atol=1e-6)
