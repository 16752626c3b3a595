# Coppice on CPU, for any part of a service: `serve`, `work`, `migrate`. docs/operations.md says how they go together.

FROM python:3.11-slim-bookworm AS build

WORKDIR /source
RUN python -m venv /opt/coppice
# torch first and from PyTorch's own index: the ordinary one holds the CUDA build, gigabytes without a use here.
COPY constraints.txt ./
RUN /opt/coppice/bin/pip install --no-cache-dir --constraint constraints.txt \
      --index-url https://download.pytorch.org/whl/cpu torch torchvision
COPY pyproject.toml LICENSE ./
COPY coppice ./coppice
RUN /opt/coppice/bin/pip install --no-cache-dir --constraint constraints.txt '.[torch,server,onnx]'

FROM python:3.11-slim-bookworm

# What contains the jobs, and what Debian's slim image leaves out of what it needs. Not pinned: Debian keeps one version
# of a package in a release, so a pin breaks the build with the first security update.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --no-install-recommends --yes bubblewrap util-linux \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin coppice \
 && install --directory --owner=coppice --group=coppice --mode=0700 /data
COPY --from=build /opt/coppice /opt/coppice
COPY deploy/healthcheck.py /opt/coppice/healthcheck.py

ENV PATH=/opt/coppice/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    COPPICE_DATA_DIR=/data \
    COPPICE_HOST=0.0.0.0
USER 10001:10001
VOLUME /data
EXPOSE 8443
# A container of workers asks its --metrics-port instead.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "/opt/coppice/healthcheck.py", "https://127.0.0.1:8443/healthz", "http://127.0.0.1:8443/healthz"]
ENTRYPOINT ["coppice"]
CMD ["serve"]
