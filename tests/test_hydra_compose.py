"""Composing in a program that may be one of Hydra's itself."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from cmi_bench.errors import UserError
from cmi_bench.hydra_compose import compose_config
from cmi_bench.hydra_setup import registered


def test_the_callers_own_hydra_is_put_back(tmp_path):
    with registered():  # puts back what this test does
        (tmp_path / "theirs.yaml").write_text("defaults: [schema, _self_]\nfolder: ${project:x}\n")
        ConfigStore.instance().store(name="schema", node={"mine": 1})
        OmegaConf.register_new_resolver("project", lambda path: f"my {path}", replace=True)
        with initialize_config_dir(str(tmp_path), version_base="1.3"):
            hydra, known = GlobalHydra.instance().hydra, set(ConfigStore.instance().repo)
            with pytest.raises(UserError):
                compose_config("signall")
            assert GlobalHydra.instance().hydra is hydra
            assert set(ConfigStore.instance().repo) == known
            assert compose("theirs") == {"mine": 1, "folder": "my x"}
        assert not GlobalHydra.instance().is_initialized()
