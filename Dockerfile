# The service in a small image: built with the toolchain's image, run on Debian without it.
FROM rust:1.95-slim-bookworm AS build
# SQLite and the TLS library are compiled from C.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# What was compiled is kept for the next build, which may be another checkout's. Cargo tells by the times of the files
# whether it is still good, and those that are copied keep theirs: one that differs may be older. So all are new.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,sharing=locked \
    find . -path ./target -prune -o -exec touch --no-create {} + \
    && cargo build --release --locked --package tags-api \
    && install -D target/release/tags-api /out/tags-api

FROM debian:bookworm-slim
RUN useradd --system --create-home --home-dir /var/lib/tags-api --uid 10001 tags-api
COPY --from=build /out/tags-api /usr/local/bin/tags-api
USER tags-api
# Without DATABASE_URL the tags are in an SQLite file here.
ENV XDG_DATA_HOME=/var/lib/tags-api/data \
    TAGS_LISTEN=0.0.0.0:8000
VOLUME /var/lib/tags-api
EXPOSE 8000
# A form without a shell: signals reach the service, which finishes what is under way.
ENTRYPOINT ["tags-api"]
CMD ["serve"]
