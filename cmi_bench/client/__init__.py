"""Talks to a reward server (`cmi-bench serve`): songs in, receipts out; imports neither torch nor a model.

>>> from cmi_bench.client import RewardClient
>>> client = RewardClient("http://127.0.0.1:8000")
>>> client
<RewardClient http://127.0.0.1:8000>
"""

from cmi_bench.client.asynchronous import AsyncRewardClient
from cmi_bench.client.blocking import RewardClient
from cmi_bench.client.errors import RewardServerError
from cmi_bench.client.uploads import ServerFile
from cmi_bench.serving.wire import Receipt

__all__ = ["AsyncRewardClient", "Receipt", "RewardClient", "RewardServerError", "ServerFile"]
