"""Which packages and files a wheel has; all else about the project is in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    # People change `conf/` at the top of a checkout; an installation has it inside of the package.
    packages=[*find_packages(include=["cmi_bench*"]), "cmi_bench.conf"],
    package_dir={"cmi_bench.conf": "conf"},
    package_data={"": ["py.typed", "templates/*", "reported/*"], "cmi_bench.conf": ["**/*.yaml"]},
    exclude_package_data={"cmi_bench.conf": ["local/*"]},  # settings of the machine that builds the wheel
)
