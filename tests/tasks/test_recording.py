from cmi_bench.tasks.benchmark import facts_afterwards


class Model:
    facts = {"kernels": "on"}  # noqa: RUF012


def test_what_the_model_says_joins_what_is_known_of_it():
    found = facts_afterwards({"model": {"name": "mine"}}, Model())

    assert found["model"] == {"name": "mine", "kernels": "on"}
    assert found["memory"]["process_gb"] > 0
