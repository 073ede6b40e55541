# Python 3.11.15 or newer in its line: CVE-2026-1299 (header injection in the standard library).
FROM python:3.13-slim-bookworm AS build
WORKDIR /src
COPY requirements.lock pyproject.toml README.md LICENSE ./
COPY gateway gateway
COPY templates templates
COPY migrations migrations
RUN python -m venv /opt/replygate \
 && /opt/replygate/bin/pip install --no-cache-dir --require-hashes -r requirements.lock \
 && /opt/replygate/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.13-slim-bookworm
COPY --from=build /opt/replygate /opt/replygate
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin replygate
USER 10001
ENV PATH=/opt/replygate/bin:$PATH REPLYGATE_CONFIG=/site/gateway.yaml PYTHONDONTWRITEBYTECODE=1
EXPOSE 2525 2424
STOPSIGNAL SIGTERM
ENTRYPOINT ["replygate"]
CMD ["serve"]
