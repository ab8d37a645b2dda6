import asyncio
import os
from pathlib import Path

import asyncpg
import pytest

from bot.similarity.model import ensure
from storage import embedded
from storage.database import Database
from storage.migrate import migrate

# What a developer has set must not decide what a test sees.
for name in (
    "DATABASE_URL",
    "CHROMA_URL",
    "CHROMA_API_KEY",
    "GITHUB_API_URL",
    "DATA_DIR",
    "PORT",
    "http_proxy",
):
    os.environ.pop(name, None)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """A real PostgreSQL for the whole run; durability is tested on servers of their own."""
    server = embedded.start(Path(tmp_path_factory.mktemp("postgres")), fsync=False)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def template(postgres):
    """A migrated database that each test gets a copy of."""
    asyncio.run(migrate(postgres.url))
    return embedded.DATABASE


@pytest.fixture
async def database_url(postgres, template, request):
    """The address of a fresh, migrated database."""
    name = f"test_{os.urandom(6).hex()}"
    # As the superuser: a server that cleans up in a database may only be sent away by one.
    owner = await asyncpg.connect(postgres.address("template1", "postgres"))
    await owner.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER {embedded.ROLE}")
    yield postgres.address(name)
    await owner.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await owner.close()


@pytest.fixture(scope="module")
def shared_url(postgres, template):
    """The address of a migrated database for a whole module: its tests keep to rows of their own."""
    name = f"test_{os.urandom(6).hex()}"
    asyncio.run(run(postgres, f"CREATE DATABASE {name} TEMPLATE {template} OWNER {embedded.ROLE}"))
    yield postgres.address(name)
    asyncio.run(run(postgres, f"DROP DATABASE {name} WITH (FORCE)"))


async def run(postgres, statement):
    """As the superuser."""
    owner = await asyncpg.connect(postgres.address("template1", "postgres"))
    await owner.execute(statement)
    await owner.close()


@pytest.fixture
async def shared(shared_url):
    """The database of the module, as behaviour sees it."""
    database = await Database.connect(shared_url, size=5)
    yield database
    await database.close()


@pytest.fixture
async def database(database_url):
    """A fresh, migrated database, as behaviour sees it."""
    database = await Database.connect(database_url, size=5)
    yield database
    await database.close()


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory, worker_id):
    """A folder with the model's ONNX file, built once for a run, however many processes share it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "model"
    ensure(folder)
    return folder
