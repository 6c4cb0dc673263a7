"""The command `cmi-bench`; `python -m cmi_bench` is the same, for environments whose commands are not on the PATH."""

from cmi_bench.utils.interrupt import end_on_interrupt


def main(prog_name: str | None = None) -> None:
    """Do what the command line says.

    Args:
        prog_name: What the command is called in its help; None for how it was called.
    """
    end_on_interrupt()
    from cmi_bench.cli.app import app

    app(prog_name=prog_name)


if __name__ == "__main__":
    main(prog_name="python -m cmi_bench")
