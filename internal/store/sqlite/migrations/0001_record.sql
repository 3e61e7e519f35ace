-- The record in one SQLite file. The tables are those of the PostgreSQL schema, where more is said of some columns.
--
-- Ids are TEXT: UUIDs of 36 characters in lower case. Times are INTEGER: microseconds since 1970 in UTC, which is what
-- PostgreSQL keeps of a time. Truth is INTEGER, 0 or 1. A column that holds text comes after those a query sorts and
-- filters by: SQLite has to walk past what stands before a column.
-- Once released, a migration never changes (its checksum is kept); later ones only add.

-- A conversation: one row, one sequence.
CREATE TABLE conversations (
    id            TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 36 AND id = lower(id))
                  DEFAULT (lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-' ||
                           substr('89ab', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))),
    started_at    INTEGER NOT NULL DEFAULT (CAST(round(unixepoch('subsec') * 1000000) AS INTEGER)),
    model         TEXT    NOT NULL DEFAULT '',
    head          INTEGER NOT NULL DEFAULT 0,                    -- the last sequence number given out
    message_count INTEGER NOT NULL DEFAULT 0,                    -- rows of messages that are not deleted
    updated_at    INTEGER NOT NULL DEFAULT (CAST(round(unixepoch('subsec') * 1000000) AS INTEGER)), -- the last message or reply
    title         TEXT    NOT NULL DEFAULT '',
    metadata      TEXT    NOT NULL DEFAULT '{}' CHECK (json_valid(metadata)), -- a client's own 16 pairs
    pinned        INTEGER NOT NULL DEFAULT 0,
    archived      INTEGER NOT NULL DEFAULT 0,
    listed        INTEGER NOT NULL DEFAULT 1                     -- 0: made by a response that named no conversation
) STRICT;
CREATE INDEX conversations_by_start ON conversations (listed, started_at, id);
CREATE INDEX conversations_by_update ON conversations (listed, updated_at, id);

-- A message: one item of a conversation. Rows are only ever added; a deleted one is emptied in place.
CREATE TABLE messages (
    n               INTEGER PRIMARY KEY AUTOINCREMENT,           -- the row of search_index; never given out twice
    id              TEXT    NOT NULL UNIQUE CHECK (length(id) = 36 AND id = lower(id))
                    DEFAULT (lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-' ||
                             substr('89ab', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))),
    conversation_id TEXT    NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
    seq             INTEGER,                                     -- the order; all items of a reply share one; NULL only
                                                                 -- until the trigger below has numbered the row
    idx             INTEGER NOT NULL DEFAULT 0,                  -- the order within seq
    created_at      INTEGER NOT NULL DEFAULT (CAST(round(unixepoch('subsec') * 1000000) AS INTEGER)),
    role            TEXT    NOT NULL CONSTRAINT messages_role_check CHECK (role IN ('user', 'assistant', 'system')),
    status          TEXT    NOT NULL DEFAULT 'completed'
                    CONSTRAINT messages_status_check CHECK (status IN ('completed', 'incomplete', 'deleted')),
    parent_id       TEXT,                                        -- set where a branch leaves the line; else the row before
    response_id     TEXT,                                        -- the reply that this is an output of
    content         TEXT    NOT NULL,
    item            TEXT    CHECK (json_valid(item)),            -- the typed item, where it is more than its content
    CONSTRAINT messages_order UNIQUE (conversation_id, seq, idx)
) STRICT;
CREATE INDEX messages_forks ON messages (conversation_id, seq, idx) WHERE parent_id IS NOT NULL;

-- A response: one turn of the assistant. It has one owner while it runs and ends once.
CREATE TABLE responses (
    id                   TEXT    NOT NULL PRIMARY KEY,
    conversation_id      TEXT    NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
    previous_response_id TEXT,
    seq                  INTEGER NOT NULL,                       -- reserved for its output when it starts
    parent_id            TEXT,                                   -- as in messages, for a reply that has no input of its own
    status               TEXT    NOT NULL
                         CHECK (status IN ('queued', 'in_progress', 'completed', 'incomplete', 'failed', 'cancelled')),
    model                TEXT    NOT NULL,
    server_id            TEXT    NOT NULL,                       -- the owner
    cancel_requested     INTEGER NOT NULL DEFAULT 0,             -- somebody wants it stopped; the owner looks
    created_at           INTEGER NOT NULL,
    ended_at             INTEGER,
    incomplete_reason    TEXT    NOT NULL DEFAULT '',
    usage                TEXT    CHECK (json_valid(usage)),      -- tokens, once known
    error                TEXT    CHECK (json_valid(error)),      -- code and message of a failed one
    request              TEXT    NOT NULL CHECK (json_valid(request)), -- what was asked for, echoed in the response object
    log                  TEXT    NOT NULL DEFAULT ''             -- response_deltas folded, once ended
) STRICT;
CREATE INDEX responses_of_conversation ON responses (conversation_id, seq);
CREATE INDEX responses_running ON responses (conversation_id, seq) WHERE ended_at IS NULL;
CREATE INDEX responses_owned ON responses (server_id) WHERE ended_at IS NULL;

-- The log of running replies; a reader's stream is a tail of it. No foreign key: a flush does not look the reply up.
CREATE TABLE response_deltas (
    response_id     TEXT    NOT NULL,
    n               INTEGER NOT NULL,                            -- from 0, without a gap
    conversation_id TEXT    NOT NULL,
    kind            TEXT    NOT NULL,                            -- item, part, text, part_done, item_done
    item            INTEGER NOT NULL,                            -- output index
    part            INTEGER NOT NULL,                            -- content index
    item_id         TEXT,                                        -- of kind item: the id of the message it becomes
    text            TEXT    NOT NULL,                            -- of item and part: the type; of text: the text
    PRIMARY KEY (response_id, n)
) STRICT, WITHOUT ROWID;

-- A server that answers. Its row is the fence: whoever takes over raises the epoch, and the old owner can write no more.
CREATE TABLE servers (
    id         TEXT    NOT NULL PRIMARY KEY CHECK (length(id) = 36),
    epoch      INTEGER NOT NULL,
    counter    INTEGER NOT NULL DEFAULT 0,                       -- raised while it lives
    started_at INTEGER NOT NULL
) STRICT;

-- A key that a client sent with a request, so that a retry gets the response of the first try. Inserted first of all.
CREATE TABLE idempotency (
    scope       TEXT    NOT NULL,                                -- what kind of request
    key         TEXT    NOT NULL,                                -- the client's
    fingerprint TEXT    NOT NULL,                                -- of the request, to tell a retry from another one
    response_id TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_by_age ON idempotency (created_at);

-- Search is derived. The program folds and splits the words, so that both engines find the same, and indexes its own
-- messages as it appends them. What a foreign program inserts waits in the queue, which a search reads as well.
CREATE TABLE search_queue (
    n INTEGER PRIMARY KEY REFERENCES messages(n) ON DELETE CASCADE -- the latest is drained first
) STRICT;

-- The index holds words and nothing else: no text, no places of words, no sizes. A row is taken out by telling it the
-- same words again, and secure-delete makes that remove them at once instead of marking them.
CREATE VIRTUAL TABLE search_index USING fts5 (words, content = '', columnsize = 0, detail = none, tokenize = 'ascii');
INSERT INTO search_index (search_index, rank) VALUES ('secure-delete', 1);

-- A very long text has too many words for that: they stand here, sorted, each after a space, and a search looks through them.
CREATE TABLE search_long (
    n     INTEGER PRIMARY KEY REFERENCES messages(n) ON DELETE CASCADE,
    words TEXT    NOT NULL
) STRICT;

-- A foreign program knows only the plain columns. What it inserts is numbered, counted and queued here; our own rows
-- bring their number and never fire this.
CREATE TRIGGER number_foreign_message AFTER INSERT ON messages WHEN NEW.seq IS NULL BEGIN
    SELECT raise(ABORT, 'no such conversation')
     WHERE NOT EXISTS (SELECT 1 FROM conversations WHERE id = NEW.conversation_id);
    UPDATE conversations
       SET head = head + 1, message_count = message_count + 1, updated_at = CAST(round(unixepoch('subsec') * 1000000) AS INTEGER)
     WHERE id = NEW.conversation_id;
    UPDATE messages SET seq = (SELECT head FROM conversations WHERE id = NEW.conversation_id) WHERE n = NEW.n;
    INSERT INTO search_queue (n) VALUES (NEW.n);
END;
