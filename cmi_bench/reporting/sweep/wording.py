"""What a sweep's tables say in words."""

from cmi_bench.reporting.sweep.letters import Letters


def how_to_read(letters: Letters | None) -> list[str]:
    """Say what the letters mean; nothing where there are none."""
    if letters is None:
        return []
    return [f"In a column, jobs that share a letter do not differ significantly (alpha = {letters.alpha:g})."]
