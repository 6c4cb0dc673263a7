"""Results rows of an ensemble with known noise: where its members differ is where it is wrong, or is not."""

from typing import Any

import numpy as np

VALID = {"split": "test", "inference_valid_a": True, "inference_valid_b": True}
N_MEMBERS = 5


def member_rows(n: int = 60, *, per_prompt: int = 3, telling: bool = True, seed: int = 0) -> list[dict[str, Any]]:
    """Return n clips of PAM and n pairs of CMI-Pref.

    Each clip has noise of a size of its own. The members' answers are the truth, an error that they share, and noise of
    that size; where `telling`, the error that they share is of that size too, else their spread says nothing about it.
    """
    rng = np.random.default_rng(seed)
    offsets, scales = rng.normal(0, 3, N_MEMBERS), rng.uniform(0.5, 2, N_MEMBERS)

    def clip(truth: float) -> dict[str, Any]:
        size = 0.4 * np.exp(0.8 * rng.normal())
        own = rng.normal(0, size, N_MEMBERS)
        shared = rng.normal(0, 2.5 * size if telling else 1.0)
        members = ((truth + shared + own - own.mean()) * scales + offsets).tolist()
        return {"": float(np.mean(members)), "_spread": float(np.std(members, ddof=1)), "_members": members}

    rows: list[dict[str, Any]] = []
    for i in range(n):
        a, b = rng.uniform(1, 5, 2).round(2)
        of_a, of_b = clip(a), clip(b)
        single = {"predicted_musicality" + name: value for name, value in of_a.items()}
        pair = single | {f"predicted_musicality{name}_b": value for name, value in of_b.items()}
        prompt = {"prompt": f"prompt {i // per_prompt}"}
        rows.append(
            VALID | prompt | single | {"source": "PAM (music)", "audio-path": f"{i}.wav", "musicality": float(a)}
        )
        rows.append(
            VALID | prompt | pair | {"source": "cmi-arena-annotation", "audio-path": f"{i}a.wav", "audio2": f"{i}b.wav",
                                     "preference-musicality": "model_a" if a > b else "model_b"}
        )  # fmt: skip
    return rows
