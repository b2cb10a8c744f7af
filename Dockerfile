# syntax=docker/dockerfile:1
# Cliffwatch as a container: built once as a wheel, run without root, with a file system that may be read-only.

FROM python:3.12-slim-bookworm AS build
WORKDIR /source
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ONLY_BINARY=:all: \
    PIP_REQUIRE_HASHES=1
COPY requirements.lock deploy/build.lock ./
# Nothing is installed that is not in a lock file with its hash, and no code of a package runs while it is installed.
# pip compiles it, since the file system may be read-only later, and every start would compile it again.
# The virtual environment has the same path in both stages, so that the scripts in it stay right.
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --requirement build.lock \
    && python -m venv /opt/cliffwatch \
    && /opt/cliffwatch/bin/pip install --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY monitor monitor
RUN PIP_REQUIRE_HASHES=0 /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && PIP_REQUIRE_HASHES=0 /opt/cliffwatch/bin/pip install --no-deps /wheels/*.whl

FROM python:3.12-slim-bookworm
RUN groupadd --system --gid 10001 cliffwatch \
    && useradd --system --uid 10001 --gid cliffwatch --no-create-home --home-dir /nonexistent cliffwatch
COPY --from=build /opt/cliffwatch /opt/cliffwatch
ENV PATH=/opt/cliffwatch/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# By number, so that Kubernetes can see that it is not root (runAsNonRoot).
USER 10001:10001
EXPOSE 9464
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9464/-/healthy', timeout=2)"]
ENTRYPOINT ["cliffwatch"]
CMD ["run", "--config.file", "/etc/cliffwatch/cliffwatch.yaml"]
