# The nightly pipeline, and a Prefect server with it, in one image without root.
#   docker build -t recsys-nightly .
#   docker build -t recsys-nightly:keras --build-arg EXTRAS=cpu,dask,server .     with TensorFlow, for the Keras models
ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS build
# Of pyproject.toml's extras: server is Prefect's messaging through Redis. TensorFlow is 1 GB, and the default models do without.
ARG EXTRAS=dask,server
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/recsys
WORKDIR /build
COPY requirements/dev.txt requirements/dev.txt
COPY pyproject.toml README.md ./
COPY recsys recsys
COPY tasks tasks
COPY flows flows
COPY deployments deployments
# The pinned versions bound what is installed; those that no chosen extra asks for stay away.
RUN /opt/recsys/bin/pip install --constraint requirements/dev.txt ".[${EXTRAS}]"

FROM python:${PYTHON}-slim-bookworm
# A number, so that Kubernetes can see that it is not root.
ARG UID=10001
RUN useradd --uid ${UID} --create-home recsys && install --directory --owner=recsys /store
COPY --from=build /opt/recsys /opt/recsys
ENV PATH=/opt/recsys/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RECSYS_STORE=/store \
    DO_NOT_TRACK=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PREFECT_SERVER_EPHEMERAL_ENABLED=false
USER ${UID}
WORKDIR /home/recsys
VOLUME /store
CMD ["recsys", "--help"]
