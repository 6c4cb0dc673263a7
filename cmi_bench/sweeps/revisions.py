"""The revisions of a repository on the hub, in the order of training."""

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError  # type: ignore[attr-defined]

from cmi_bench.errors import UserError
from cmi_bench.sweeps.steps import step_order


def hub_revisions(repo: str) -> list[str]:
    """Return a repository's branches and tags by the step in their names, those without one last.

    Raises:
        UserError: The hub cannot be reached, or does not show the repository to this login.
    """
    try:
        refs = HfApi().list_repo_refs(repo)
    except (HFValidationError, HfHubHTTPError, HTTPError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"The revisions of {repo} cannot be listed: {reason}",
            "Check sweep.repo, or name them: sweep.revisions=[step_500,step_1000]. For a private one: hf auth login",
        ) from error
    names = {ref.name for ref in (*refs.branches, *refs.tags)}
    return sorted(names, key=step_order)
