"""The rows on which jobs differ, as cards."""

from report_rows import rows
from sweep_report import compared

from cmi_bench.reporting.html.audio import AudioLink
from cmi_bench.reporting.html.disagreements import MAX_TEXT, disagreement_lists


def test_of_many_jobs_and_long_texts_a_part_is_shown_and_said():
    lines = [row | {"prompt": "do " * 2000, "lyrics": "la " * 2000} for row in rows(8)]
    steps = tuple(range(100, 1600, 100))
    labels = [f"step_{step}" for step in steps]
    lists = disagreement_lists(
        compared(steps, lines).disagreements, labels, lambda path, _dataset: AudioLink(path, None, "gone")
    )
    cards = [card for one in lists for card in one.cards]
    assert [one.title for one in lists] == [
        *("PAM, musicality", "PAM, alignment", "CMI-Pref, alignment", "CMI-Pref, musicality")
    ]
    assert all(len(one.cards) == 5 for one in lists)
    assert all(len(text) <= MAX_TEXT + 1 for card in cards for text in (card.prompt, card.lyrics))
    for card in cards:
        shown = [row[0].text for row in card.scores.rows]
        assert "(12 of 15 jobs)" in card.scores.caption
        assert (len(shown), shown[0], shown[-1]) == (12, "step_100", "step_1500")
        assert shown == sorted(shown, key=labels.index)
