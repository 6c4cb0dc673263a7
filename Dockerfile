# The tool and its tests, on a machine that has neither Python 3.11 nor a compiler. See docs/install.md.
#   docker build --tag cmi-bench .                            with CUDA
#   docker build --tag cmi-bench:cpu --build-arg CPU=1 .      without
#   docker run --rm cmi-bench:cpu make test
FROM debian:bookworm-slim

# hadolint ignore=DL3008  # Debian keeps one version of a package in a release
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git make python3.11 python3.11-venv \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /cmi-bench

# The environment first, so that a change of the code does not make it again. What is copied here is what pip looks at.
COPY Makefile constraints.txt pyproject.toml setup.py README.md LICENSE ./
COPY cmi_bench/__init__.py cmi_bench/
COPY conf/config.yaml conf/
ARG CPU=
RUN PIP_NO_CACHE_DIR=1 make env CPU="$CPU"
COPY . .

# torch's wheels bring CUDA; of the host they need its driver, which `docker run --gpus all` lends.
ENV PATH=/cmi-bench/.venv/bin:$PATH \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
CMD ["make", "run"]
