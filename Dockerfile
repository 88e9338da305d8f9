# Autoheal's image: the service, the workers (`worker`) and every other command.
#
#   docker build --tag autoheal:0.1.0 .
#
# Runs as 10001:10001 with a read-only root; it writes to /data, and to /tmp where there is one. The two images below
# have exact tags. To pin them by digest, give what your registry says:
#   --build-arg PYTHON_IMAGE=python:3.12.12-slim-bookworm@sha256:… --build-arg NODE_IMAGE=node:…@sha256:…
ARG PYTHON_IMAGE=python:3.12.12-slim-bookworm
ARG NODE_IMAGE=node:22.23.1-bookworm-slim

FROM ${NODE_IMAGE} AS node

# ---- builds the wheel, and an environment that holds it ---------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore

RUN apt-get update \
  && apt-get install --yes --no-install-recommends 'tini=0.19.0-*' \
  && rm -rf /var/lib/apt/lists/*

# For the console, which the wheel's build hook makes.
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/local/lib/node_modules/npm /usr/local/lib/node_modules/npm
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm

WORKDIR /src
COPY . .
RUN python -m pip wheel --no-deps --wheel-dir /wheels .

# Without pip of its own: what runs needs none.
RUN python -m venv --without-pip /opt/autoheal \
  && wheel=$(echo /wheels/autoheal-*.whl) \
  && python -m pip --python /opt/autoheal/bin/python install --constraint constraints.txt "${wheel}[scale]" \
  && /opt/autoheal/bin/autoheal --version

# ---- what runs --------------------------------------------------------------------------------------------------------
FROM ${PYTHON_IMAGE}

LABEL org.opencontainers.image.title="Autoheal" \
  org.opencontainers.image.description="Self-healing operations: an alert becomes a safe, recorded, verified fix." \
  org.opencontainers.image.licenses="Apache-2.0"

RUN python -m pip uninstall --yes --quiet --root-user-action=ignore pip \
  && groupadd --gid 10001 autoheal \
  && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin autoheal \
  && install --directory --owner=10001 --group=10001 --mode=0750 /data

COPY --from=build /usr/bin/tini /usr/bin/tini
COPY --from=build /opt/autoheal /opt/autoheal

ENV PATH=/opt/autoheal/bin:$PATH \
  PYTHONDONTWRITEBYTECODE=1 \
  PYTHONUNBUFFERED=1 \
  AUTOHEAL_HOST=0.0.0.0 \
  AUTOHEAL_DATA_DIR=/data \
  LOG_FORMAT=json

USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 9009

# Ready: able to persist and to decide. A proxy of the environment is not asked.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-ISc", "import os, urllib.request as web; web.build_opener(web.ProxyHandler({})).open('http://127.0.0.1:%s/readyz' % (os.environ.get('AUTOHEAL_PORT') or 9009), timeout=4)"]

# What a command leaves behind would become a zombie under PID 1: tini reaps it, and passes SIGTERM on.
STOPSIGNAL SIGTERM
ENTRYPOINT ["tini", "--", "autoheal"]
CMD ["serve"]
