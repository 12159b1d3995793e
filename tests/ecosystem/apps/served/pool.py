"""A pool of database connections that belongs to one event loop, as those of asyncpg or psycopg:
opened when the server starts, and of no use on any other loop."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import aiosqlite

SIZE = 2


class Pool:
    def __init__(self, app, path):
        self.path = path
        if hasattr(app, "before_serving"):  # Flask has no such thing, and its run does not ask
            app.before_serving(self.open)
            app.after_serving(self.close)

    async def open(self):
        self.loop = asyncio.get_running_loop()
        self.free = asyncio.Queue()
        for _ in range(SIZE):
            self.free.put_nowait(await aiosqlite.connect(self.path))
        async with self.connection() as connection:
            await connection.execute(
                "CREATE TABLE IF NOT EXISTS pool_visits (id INTEGER PRIMARY KEY)"
            )
            await connection.commit()

    async def close(self):
        for _ in range(SIZE):
            await (await self.free.get()).close()

    @asynccontextmanager
    async def connection(self):
        if asyncio.get_running_loop() is not self.loop:
            raise RuntimeError("The pool belongs to another loop.")
        connection = await self.free.get()
        try:
            yield connection
        finally:
            self.free.put_nowait(connection)

    async def visit(self):
        """The number of this visit, from the database."""
        async with self.connection() as connection:
            cursor = await connection.execute("INSERT INTO pool_visits DEFAULT VALUES")
            await connection.commit()
            await asyncio.sleep(0.005)  # so that others have to wait for their connection
            return str(cursor.lastrowid)
