-- A search finds parts of words, and titles. The index has the words of texts as before; search_words has each of them once,
-- so that what is within words is found by asking for all words that hold it. That needs no extension.

-- The words of a long text lie apart from the rest of a row, so that many finds are put in order of their times sooner.
-- version says what wrote a row: those of 0 are not in search_words yet and are written anew when there is nothing else to
-- do. A row of which both ids are the same is of the conversation's title.
ALTER TABLE search_index SET (toast_tuple_target = 128);
ALTER TABLE search_index ADD COLUMN version SMALLINT NOT NULL DEFAULT 0;
CREATE INDEX search_index_by_time ON search_index (created_at, message_id) WHERE chunk = 0;
CREATE INDEX search_index_old ON search_index (created_at) WHERE chunk = 0 AND version = 0;

-- What a batch adds is put in place at its end, all of it at once, as it would slow searches down where it waits.
ALTER INDEX search_index_words SET (gin_pending_list_limit = 262144);

CREATE TABLE search_words (
    word  TEXT COLLATE "C" PRIMARY KEY,
    grams TEXT[] COLLATE "C" NOT NULL                            -- its runs of three characters
);
CREATE INDEX search_words_grams ON search_words USING gin (grams) WITH (gin_pending_list_limit = 262144);

-- Conversations whose title is not in the index yet.
CREATE TABLE search_titles (
    conversation_id UUID PRIMARY KEY REFERENCES conversations(id) ON DELETE CASCADE
);
INSERT INTO search_titles (conversation_id) SELECT id FROM conversations WHERE title <> '';

CREATE FUNCTION hwlab_queue_title() RETURNS trigger LANGUAGE plpgsql
    SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO search_titles (conversation_id) VALUES (NEW.id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER queue_title AFTER INSERT ON conversations
    FOR EACH ROW WHEN (NEW.title <> '') EXECUTE FUNCTION hwlab_queue_title();
CREATE TRIGGER queue_new_title AFTER UPDATE OF title ON conversations
    FOR EACH ROW WHEN (OLD.title IS DISTINCT FROM NEW.title) EXECUTE FUNCTION hwlab_queue_title();
