"""The benchmark's entry point in a checkout; an installed package has the same as `cmi-bench run`.

`python run.py --help` shows the configuration groups and examples.
"""

import sys

from cmi_bench.utils.interrupt import end_on_interrupt

if __name__ == "__main__":
    end_on_interrupt()
    from cmi_bench.main import run

    run(sys.argv[1:])
