-- How far background tasks are, and which are to stop. MMR's table has no room for it.
CREATE TABLE mmr_task_progress (
    task_id BIGINT PRIMARY KEY NOT NULL,
    done BIGINT NOT NULL DEFAULT 0,
    failed BIGINT NOT NULL DEFAULT 0,
    total BIGINT NOT NULL DEFAULT 0,
    bytes_done BIGINT NOT NULL DEFAULT 0,
    updated_ts BIGINT NOT NULL DEFAULT 0,
    is_cancelled BOOLEAN NOT NULL DEFAULT FALSE
);
