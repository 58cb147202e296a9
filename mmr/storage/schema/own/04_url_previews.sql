-- Previews by homeserver, URL and language: the unique index of MMR's `url_previews`
-- knows neither language nor homeserver. `cache_key` is the hash of all three, because
-- a URL may be longer than an index takes.
CREATE TABLE mmr_url_previews (
    cache_key TEXT NOT NULL,
    bucket_ts BIGINT NOT NULL,
    origin TEXT NOT NULL,
    url TEXT NOT NULL,
    language TEXT NOT NULL,
    site_url TEXT NOT NULL,
    site_name TEXT NOT NULL,
    resource_type TEXT NOT NULL,
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    -- Of media that belongs to this preview alone and goes with it; empty for none.
    image_media_id TEXT NOT NULL,
    image_width BIGINT NOT NULL,
    image_height BIGINT NOT NULL,
    PRIMARY KEY (cache_key, bucket_ts)
);
CREATE INDEX mmr_url_previews_bucket ON mmr_url_previews (bucket_ts);
