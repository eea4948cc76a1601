# The image of a Python connector; ./build-local-python.sh gives the arguments.
#
# Where packages come from is the business of the machine that builds. It is told by secrets, which
# are mounted while a step runs and end up in no layer: `ca` is a bundle of certificate authorities,
# `index` holds variables for a shell, `pip-global` and `pip-user` are pip's configuration files.
# BASE_IMAGE has a python3 of 3.11 or newer that can make virtual environments.

ARG BASE_IMAGE=docker.io/library/python:3.12-slim

FROM ${BASE_IMAGE} AS build
WORKDIR /src
# One environment builds, the other is what the connector gets.
RUN python3 -m venv /opt/build \
 && python3 -m venv --without-pip /opt/connector \
 && printf '%s\n' \
      'set -eu' \
      '[ ! -f /run/secrets/index ] || . /run/secrets/index' \
      '[ ! -s /run/secrets/ca ] || export PIP_CERT=/run/secrets/ca' \
      'export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_INPUT=1' \
      'export PIP_CACHE_DIR=/var/cache/pip XDG_CONFIG_HOME=/run/config' \
      'exec /opt/build/bin/python -m pip --quiet "$@"' > pip.sh \
 && printf '%s\n' \
      'import sys, tomllib' \
      'print(*tomllib.load(sys.stdin.buffer)["project"]["dependencies"], sep="\n")' \
      > dependencies.py

# From what changes least to what changes most: what the kit stands on, the kit, the
# connector with what it alone needs. The layers up to the kit are shared by all connectors.
COPY constraints.txt ./
COPY estuary-cdk/pyproject.toml kit.toml
RUN --mount=type=cache,target=/var/cache/pip \
    --mount=type=secret,id=ca \
    --mount=type=secret,id=index \
    --mount=type=secret,id=pip-global,target=/etc/pip.conf \
    --mount=type=secret,id=pip-user,target=/run/config/pip/pip.conf \
    python3 dependencies.py < kit.toml > kit.txt \
 && sh pip.sh install "poetry-core>=2.0" \
 && sh pip.sh --python /opt/connector install --constraint constraints.txt --requirement kit.txt

COPY estuary-cdk estuary-cdk
RUN sh pip.sh wheel --no-deps --no-build-isolation --wheel-dir wheels ./estuary-cdk \
 && sh pip.sh --python /opt/connector install --no-deps --no-index wheels/*.whl

ARG CONNECTOR
COPY ${CONNECTOR} ${CONNECTOR}
RUN --mount=type=cache,target=/var/cache/pip \
    --mount=type=secret,id=ca \
    --mount=type=secret,id=index \
    --mount=type=secret,id=pip-global,target=/etc/pip.conf \
    --mount=type=secret,id=pip-user,target=/run/config/pip/pip.conf \
    sh pip.sh wheel --no-deps --no-build-isolation --wheel-dir connector "./${CONNECTOR}" \
 && sh pip.sh --python /opt/connector install --constraint constraints.txt connector/*.whl \
 && sh pip.sh --python /opt/connector check \
 && ln -s "${CONNECTOR}" /opt/connector/bin/connector

FROM ${BASE_IMAGE}
# The image need not have useradd. Others know users by number, so the number never changes.
RUN echo 'connector:x:10001:10001:connector:/home/connector:/usr/sbin/nologin' >> /etc/passwd \
 && echo 'connector:x:10001:' >> /etc/group \
 && mkdir -p /home/connector \
 && chown 10001:10001 /home/connector
COPY --from=build /opt/connector /opt/connector
ARG CONNECTOR
ARG PROTOCOL
ENV PATH="/opt/connector/bin:${PATH}"
LABEL FLOW_RUNTIME_PROTOCOL="${PROTOCOL}" \
      FLOW_RUNTIME_CODEC="json" \
      dev.estuary.usage-rate="1.0" \
      org.opencontainers.image.title="${CONNECTOR}"
USER 10001:10001
WORKDIR /home/connector
# Without a shell in between: the connector itself gets the signals.
ENTRYPOINT ["/opt/connector/bin/connector"]
