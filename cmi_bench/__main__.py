"""`python -m cmi_bench`: the command `cmi-bench`, for environments whose commands are not on the PATH."""

from cmi_bench.cli.app import app

if __name__ == "__main__":
    app(prog_name="python -m cmi_bench")
