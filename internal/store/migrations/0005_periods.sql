-- A search asks the index of words for one period after another, the newest first, so that it need not read all finds for their
-- times. Of each text the index has which three hours it is of, and which 8, 64 and 512 times as much, counted from 1970, as words
-- that no text has.
CREATE FUNCTION hwlab_dated(words TSVECTOR, at TIMESTAMPTZ) RETURNS TSVECTOR LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
   SELECT words || array_to_tsvector(ARRAY[
       '@0:' || (floor(extract(epoch FROM at AT TIME ZONE 'UTC') / 10800)::int)::text,
       '@1:' || (floor(extract(epoch FROM at AT TIME ZONE 'UTC') / 10800)::int >> 3)::text,
       '@2:' || (floor(extract(epoch FROM at AT TIME ZONE 'UTC') / 10800)::int >> 6)::text,
       '@3:' || (floor(extract(epoch FROM at AT TIME ZONE 'UTC') / 10800)::int >> 9)::text])
$$;
SET LOCAL maintenance_work_mem = '256MB';
DROP INDEX search_index_words;
CREATE INDEX search_index_words ON search_index USING gin (hwlab_dated(words, created_at)) WITH (gin_pending_list_limit = 262144);

-- Rows of version 2 hold the pairs of words that one character joins, too. Those of 0 and 1 are written anew.
DROP INDEX search_index_old;
CREATE INDEX search_index_old ON search_index (version, created_at DESC) WHERE chunk = 0 AND version < 2;
