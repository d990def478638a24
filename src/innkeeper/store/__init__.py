"""Keep everything durable: SQLite or PostgreSQL tables, migrations, the engine."""
