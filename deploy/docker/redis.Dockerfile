# Redis as Debian packages it: the shared cache needs no more, and no other registry.
ARG BASE_IMAGE=debian:bookworm-slim
FROM ${BASE_IMAGE}
RUN apt-get update && apt-get install -y --no-install-recommends redis-server && rm -rf /var/lib/apt/lists/*
USER 65532:65532
ENTRYPOINT ["redis-server"]
