# syntax=docker/dockerfile:1
# Cliffwatch as a container: built once as a wheel, run without root, with a file system that may be read-only.

FROM python:3.12-slim-bookworm AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY monitor monitor
# The virtual environment has the same path in both stages, so that the scripts in it stay right.
RUN python -m venv /opt/cliffwatch \
    && /opt/cliffwatch/bin/pip install --no-cache-dir --no-compile --disable-pip-version-check \
        '.[kafka-codecs,postgres]'

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
