from cmi_bench.tasks.benchmark import facts_afterwards


class Model:
    facts = {"ways": {"product": "oneDNN"}}  # noqa: RUF012


def test_what_the_model_says_joins_what_is_known_of_it():
    found = facts_afterwards({"model": {"name": "mine"}}, Model())

    assert found["model"] == {"name": "mine", "ways": {"product": "oneDNN"}}
    assert found["memory"]["process_gb"] > 0


def test_a_model_need_not_say_anything():
    assert facts_afterwards({"model": {"name": "mine"}}, object())["model"] == {"name": "mine"}
