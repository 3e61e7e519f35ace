-- A search finds parts of words, and titles. What is within words is found by asking the index for all words that hold it:
-- search_words has each word of the index once. A row of the index below zero is that of a title.
CREATE INDEX messages_by_time ON messages (created_at, id);

-- Each row is 4,000 bytes of words, each after a space, filled up with spaces; a word goes by being written over. So a row fills
-- its page and is never moved: what SQLite moves between pages it leaves traces of.
CREATE TABLE search_words (
    n     INTEGER PRIMARY KEY,
    words TEXT    NOT NULL
) STRICT;

CREATE TABLE search_titles (
    n               INTEGER PRIMARY KEY AUTOINCREMENT,           -- the row of search_index, with a minus
    conversation_id TEXT    NOT NULL UNIQUE REFERENCES conversations(id) ON DELETE CASCADE,
    queued          INTEGER NOT NULL DEFAULT 1,                  -- 1: it is not in the index, or an older title is
    title           TEXT    NOT NULL DEFAULT ''                  -- that is in the index
) STRICT;
CREATE INDEX search_titles_queued ON search_titles (n) WHERE queued;
INSERT INTO search_titles (conversation_id) SELECT id FROM conversations WHERE title <> '';
CREATE TRIGGER queue_title AFTER INSERT ON conversations WHEN NEW.title <> '' BEGIN
    INSERT INTO search_titles (conversation_id) VALUES (NEW.id);
END;
CREATE TRIGGER queue_new_title AFTER UPDATE OF title ON conversations WHEN NEW.title <> OLD.title BEGIN
    INSERT INTO search_titles (conversation_id) VALUES (NEW.id) ON CONFLICT (conversation_id) DO UPDATE SET queued = 1;
END;

-- What is in the index goes there anew.
INSERT INTO search_index (search_index) VALUES ('delete-all');
DELETE FROM search_long;
INSERT INTO search_queue (n) SELECT n FROM messages WHERE status <> 'deleted' AND content <> '' ON CONFLICT DO NOTHING;
