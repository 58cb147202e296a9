-- Servers that failed too often lately (the names and units of Synapse's table).
CREATE TABLE mmr_destinations (
    destination TEXT PRIMARY KEY NOT NULL,
    failure_ts BIGINT NOT NULL,
    retry_last_ts BIGINT NOT NULL,
    retry_interval BIGINT NOT NULL
);
CREATE INDEX mmr_destinations_retry_last ON mmr_destinations (retry_last_ts);
