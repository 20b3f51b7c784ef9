# One image a service: `docker build --build-arg SERVICE=config_push -f deploy/docker/service.Dockerfile .`
# Known to both of Docker's builders: no COPY --chmod, no RUN --mount.
ARG BASE_IMAGE=python:3.13-slim-bookworm

FROM ${BASE_IMAGE} AS build
ARG SERVICE
COPY requirements/${SERVICE}.txt /build/requirements.txt
# The virtual environment has no pip: what an image does not need cannot be abused in it. Nor has it the
# thousand model classes of kubernetes_asyncio, which libs/kube never imports.
RUN python -m venv --without-pip /opt/seine \
 && python -m pip --python /opt/seine/bin/python install --no-cache-dir --no-compile --only-binary :all: \
      --disable-pip-version-check --root-user-action ignore --require-hashes -r /build/requirements.txt \
 && rm -rf /opt/seine/lib/python*/site-packages/kubernetes_asyncio/client/api \
      /opt/seine/lib/python*/site-packages/kubernetes_asyncio/client/models/v*.py \
 && find /opt/seine/lib -depth \( -name tests -o -name '*.pyi' -o -name '*.pyx' -o -name '*.c' \) -exec rm -rf {} + \
 && /opt/seine/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/seine/lib \
 && printf '#!/bin/sh\nexec /opt/seine/bin/python -m services.%s "$@"\n' "${SERVICE}" > /opt/seine/bin/service \
 && chmod 755 /opt/seine/bin/service

FROM ${BASE_IMAGE}
ARG SERVICE
# The agent lays the interception rules of its pod: iptables or nft, and `ip` for TPROXY's route and for
# IPv6's second loopback address. A base image may have them already.
RUN if [ "${SERVICE}" = agent ] && ! { command -v iptables && command -v nft && command -v ip; } >/dev/null; then \
      apt-get update && apt-get install -y --no-install-recommends iptables nftables iproute2 && rm -rf /var/lib/apt/lists/*; fi
COPY --from=build /opt/seine /opt/seine
COPY libs /app/libs
COPY services/__init__.py /app/services/__init__.py
COPY services/${SERVICE} /app/services/${SERVICE}
# Compiled now, because the root file system is read-only when it runs.
RUN /opt/seine/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /app
ENV PATH=/opt/seine/bin:$PATH PYTHONPATH=/app PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# 1337 is the agent's user, whose packets the interception rules leave alone; the others take it too.
USER 1337:1337
WORKDIR /
ENTRYPOINT ["service"]
