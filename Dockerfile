# The commands as images: a static binary each and nothing else, run by a user without rights.
#
#   docker build --target command-handler .     or synchronizer, or open-bank
#
# The building machine's own architecture compiles for both, so that --platform=linux/arm64 emulates nothing.

# Debian 12 with Go; another name where this one can't be pulled.
ARG BUILD_IMAGE=golang:1.26-bookworm
# BuildKit knows it. Docker's older builder doesn't, and takes this.
ARG BUILDPLATFORM=${BUILDPLATFORM:-linux/amd64}

FROM --platform=$BUILDPLATFORM ${BUILD_IMAGE} AS build
ARG TARGETARCH
# The handler's Kafka client is C. Debian has musl for every architecture, and its compiler for one of them uses it when it
# is given musl's specs.
RUN set -eu; \
    arch=${TARGETARCH:-$(dpkg --print-architecture)}; \
    case $arch in \
      amd64) triplet=x86_64-linux;; \
      arm64) triplet=aarch64-linux;; \
      *) echo "there is no build for $arch: choose linux/amd64 or linux/arm64" >&2; exit 1;; \
    esac; \
    dpkg --add-architecture "$arch"; \
    apt-get update -qq; \
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      ca-certificates "gcc-$(echo $triplet | tr _ -)-gnu" "musl-dev:$arch"; \
    rm -rf /var/lib/apt/lists/*; \
    { echo "export GOOS=linux GOARCH=$arch"; echo "export CC='$triplet-gnu-gcc -specs=/usr/lib/$triplet-musl/musl-gcc.specs'"; } >/target.env
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=development
RUN set -eu; . /target.env; \
    VERSION="$VERSION" cmd/command-handler/build-static -o /out/command-handler; \
    CGO_ENABLED=0 go build -trimpath -o /out/ -ldflags "-s -w -X main.version=$VERSION" ./cmd/synchronizer ./cmd/open-bank

# Without a name: there is no /etc/passwd. The certificates are for a registry that a public authority vouches for.
FROM scratch AS base
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
USER 65532:65532
ARG VERSION=development
LABEL org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.licenses=Apache-2.0

FROM base AS synchronizer
LABEL org.opencontainers.image.title="open-bank synchronizer" \
      org.opencontainers.image.description="Topics, schemas and access control lists as code: the open-bank stack's, or your own"
COPY --from=build /out/synchronizer /synchronizer
ENTRYPOINT ["/synchronizer"]
# As a stack's first container: make what is missing, leave what is there. Other arguments take its place.
CMD ["apply", "--create-only"]

# A hand on a stack: account, transfer, balance, tail, verify, certs. demo and run need a Postgres beside them, which an
# image of nothing has not.
FROM base AS open-bank
LABEL org.opencontainers.image.title="open-bank" \
      org.opencontainers.image.description="Opens accounts, sends transfers and checks the books of an open-bank stack"
COPY --from=build /out/open-bank /open-bank
ENTRYPOINT ["/open-bank"]

FROM base AS command-handler
LABEL org.opencontainers.image.title="open-bank command handler" \
      org.opencontainers.image.description="Executes the open-bank stack's commands: Kafka in, Postgres, Kafka out"
COPY --from=build /out/command-handler /command-handler
ENTRYPOINT ["/command-handler"]
