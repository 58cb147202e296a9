-- Blurhashes (MSC2448) by the content that they stand for.
CREATE TABLE mmr_blurhashes (
    sha256_hash TEXT PRIMARY KEY NOT NULL,
    blurhash TEXT NOT NULL
);
