-- Tables beside MMR's. An object is a datastore id and a location.

-- Objects that are about to get a record (design §6).
CREATE TABLE mmr_object_intents (
    datastore_id TEXT NOT NULL,
    location TEXT NOT NULL,
    sha256_hash TEXT NOT NULL,
    since_ts BIGINT NOT NULL,
    PRIMARY KEY (datastore_id, location)
);
CREATE INDEX mmr_object_intents_since ON mmr_object_intents (since_ts);

-- Objects without a record that are to be deleted, again and again until it works.
CREATE TABLE mmr_object_deletes (
    datastore_id TEXT NOT NULL,
    location TEXT NOT NULL,
    since_ts BIGINT NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    next_try_ts BIGINT NOT NULL DEFAULT 0,
    last_error TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (datastore_id, location)
);
CREATE INDEX mmr_object_deletes_next_try ON mmr_object_deletes (next_try_ts);

-- Bytes and files of uploads under way, counted against their user's quota.
CREATE TABLE mmr_quota_reservations (
    id TEXT PRIMARY KEY NOT NULL,
    user_id TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    files BIGINT NOT NULL,
    since_ts BIGINT NOT NULL
);
CREATE INDEX mmr_quota_reservations_user ON mmr_quota_reservations (user_id);
CREATE INDEX mmr_quota_reservations_since ON mmr_quota_reservations (since_ts);

-- What each datastore holds, in several rows each: one row would make concurrent
-- uploads wait for one another's commit. Single rows may be negative; sums are not.
CREATE TABLE mmr_datastore_totals (
    datastore_id TEXT NOT NULL,
    slot BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    objects BIGINT NOT NULL,
    PRIMARY KEY (datastore_id, slot)
);

CREATE INDEX mmr_export_parts_location ON export_parts (datastore_id, location);
