-- PostgreSQL. MMR's list of applied migrations; the rest is in gomigrate/.
CREATE TABLE gomigrate (
    id SERIAL PRIMARY KEY,
    migration_id BIGINT UNIQUE NOT NULL
);
