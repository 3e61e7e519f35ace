-- The record. This file is the whole schema of hwlab on PostgreSQL 15 and later; the SQLite twin has the same tables.
--
-- It also adopts a database that already holds the two plain tables, with rows: the IF NOT EXISTS below leave them in
-- place, the ALTERs extend them, and "Adoption" gives old rows the order they were written in.
-- Once released, a migration never changes (its checksum is kept); later ones only add.

-- A conversation: one row, one lock, one sequence.
CREATE TABLE IF NOT EXISTS conversations (
    id         UUID        PRIMARY KEY DEFAULT gen_random_uuid(),
    started_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    model      TEXT        NOT NULL DEFAULT ''
);

-- A message: one item of a conversation. Rows are only ever added; a deleted one is emptied in place.
CREATE TABLE IF NOT EXISTS messages (
    id              UUID        PRIMARY KEY DEFAULT gen_random_uuid(),
    conversation_id UUID        NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
    role            TEXT        NOT NULL CHECK (role IN ('user', 'assistant', 'system')),
    content         TEXT        NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- Half-empty pages keep the counter's updates on the page the row is on.
ALTER TABLE conversations SET (fillfactor = 70);
ALTER TABLE conversations
    ADD COLUMN head          BIGINT      NOT NULL DEFAULT 0,     -- the last sequence number given out
    ADD COLUMN message_count BIGINT      NOT NULL DEFAULT 0,     -- rows of messages that are not deleted
    ADD COLUMN updated_at    TIMESTAMPTZ NOT NULL DEFAULT now(), -- the last message or reply
    ADD COLUMN title         TEXT        NOT NULL DEFAULT '',
    ADD COLUMN metadata      JSON        NOT NULL DEFAULT '{}',  -- a client's own 16 pairs
    ADD COLUMN pinned        BOOLEAN     NOT NULL DEFAULT false,
    ADD COLUMN archived      BOOLEAN     NOT NULL DEFAULT false,
    ADD COLUMN listed        BOOLEAN     NOT NULL DEFAULT true;  -- false: made by a response that named no conversation

ALTER TABLE messages
    ADD COLUMN seq         BIGINT,                               -- the order; all items of a reply share one
    ADD COLUMN idx         INTEGER NOT NULL DEFAULT 0,           -- the order within seq
    ADD COLUMN parent_id   UUID,                                 -- set where a branch leaves the line; else the row before
    ADD COLUMN status      TEXT    NOT NULL DEFAULT 'completed'
                           CONSTRAINT messages_status_check CHECK (status IN ('completed', 'incomplete', 'deleted')),
    ADD COLUMN response_id UUID,                                 -- the reply that this is an output of
    ADD COLUMN item        JSON;                                 -- the typed item, where it is more than its content

-- Adoption. Equal times keep the order in which the rows lie in the table.
UPDATE messages m SET seq = o.seq
  FROM (SELECT id, row_number() OVER (PARTITION BY conversation_id ORDER BY created_at, ctid) AS seq FROM messages) o
 WHERE o.id = m.id;
UPDATE conversations c SET head = o.n, message_count = o.n, updated_at = greatest(c.started_at, o.at)
  FROM (SELECT conversation_id, count(*) AS n, max(created_at) AS at FROM messages GROUP BY conversation_id) o
 WHERE o.conversation_id = c.id;
UPDATE conversations SET updated_at = started_at WHERE message_count = 0;

ALTER TABLE messages ALTER COLUMN seq SET NOT NULL;
ALTER TABLE messages ADD CONSTRAINT messages_order UNIQUE (conversation_id, seq, idx);
CREATE INDEX messages_forks ON messages (conversation_id, seq, idx) WHERE parent_id IS NOT NULL;
CREATE INDEX messages_of_response ON messages (response_id) WHERE response_id IS NOT NULL;
CREATE INDEX conversations_by_start ON conversations (listed, started_at, id);
CREATE INDEX conversations_by_update ON conversations (listed, updated_at, id);

-- A response: one turn of the assistant. It has one owner while it runs and ends once.
CREATE TABLE responses (
    id                   UUID        PRIMARY KEY,
    conversation_id      UUID        NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
    previous_response_id UUID,
    seq                  BIGINT      NOT NULL,                   -- reserved for its output when it starts
    parent_id            UUID,                                   -- as in messages, for a reply that has no input of its own
    status               TEXT        NOT NULL
                         CHECK (status IN ('queued', 'in_progress', 'completed', 'incomplete', 'failed', 'cancelled')),
    model                TEXT        NOT NULL,
    request              JSON        NOT NULL DEFAULT '{}',      -- what was asked for, echoed in the response object
    usage                JSON,                                   -- tokens, once known
    error                JSON,                                   -- code and message of a failed one
    incomplete_reason    TEXT        NOT NULL DEFAULT '',
    log                  TEXT        NOT NULL DEFAULT '',        -- response_deltas folded, once ended
    server_id            UUID        NOT NULL,                   -- the owner
    cancel_requested     BOOLEAN     NOT NULL DEFAULT false,     -- somebody wants it stopped; the owner looks
    created_at           TIMESTAMPTZ NOT NULL DEFAULT now(),
    ended_at             TIMESTAMPTZ
);
CREATE INDEX responses_of_conversation ON responses (conversation_id, seq);
CREATE INDEX responses_running ON responses (conversation_id) WHERE ended_at IS NULL;
CREATE INDEX responses_owned ON responses (server_id) WHERE ended_at IS NULL;

-- The log of running replies; a reader's stream is a tail of it. No foreign key: a deletion must not wait for everybody's flush.
CREATE TABLE response_deltas (
    response_id     UUID    NOT NULL,
    n               INTEGER NOT NULL,                            -- from 0, without a gap
    conversation_id UUID    NOT NULL,
    kind            TEXT    NOT NULL,                            -- item, part, text, part_done, item_done
    item            INTEGER NOT NULL,                            -- output index
    part            INTEGER NOT NULL,                            -- content index
    item_id         UUID,                                        -- of kind item: the id of the message it becomes
    text            TEXT    NOT NULL,                            -- of item and part: the type; of text: the text
    PRIMARY KEY (response_id, n)
);

-- A server that answers. Its row is the fence: whoever takes over raises the epoch, and the old owner can write no more.
CREATE TABLE servers (
    id         UUID        PRIMARY KEY,
    epoch      BIGINT      NOT NULL,
    counter    BIGINT      NOT NULL DEFAULT 0,                   -- raised while it lives
    started_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- A key that a client sent with a request, so that a retry gets the response of the first try. Inserted first of all.
CREATE TABLE idempotency (
    scope       TEXT        NOT NULL,                            -- what kind of request
    key         TEXT        NOT NULL,                            -- the client's
    fingerprint TEXT        NOT NULL,                            -- of the request, to tell a retry from another one
    response_id UUID        NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_by_age ON idempotency (created_at);

-- Search is derived: an append queues the message, an indexer drains the queue, a search reads both. The words are folded
-- and split by the program, so that both engines find the same.
CREATE TABLE search_queue (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,  -- the latest is drained first
    message_id UUID   NOT NULL
);
ALTER TABLE search_queue SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
INSERT INTO search_queue (message_id) SELECT id FROM messages ORDER BY created_at;

CREATE TABLE search_index (
    conversation_id UUID        NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
    message_id      UUID        NOT NULL,
    chunk           INTEGER     NOT NULL,                        -- the words of a very long text take several rows
    created_at      TIMESTAMPTZ NOT NULL,
    words           TSVECTOR    NOT NULL,
    PRIMARY KEY (conversation_id, message_id, chunk)
);
CREATE INDEX search_index_words ON search_index USING gin (words);
CREATE INDEX search_index_long ON search_index (message_id) WHERE chunk > 0;

-- A foreign program knows only the plain columns. What it inserts is numbered, counted and queued here; our own rows
-- bring their number and never fire this. The row lock it takes is the one every append takes.
CREATE FUNCTION hwlab_number_foreign_message() RETURNS trigger LANGUAGE plpgsql
    SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE conversations
       SET head = head + 1, message_count = message_count + 1, updated_at = clock_timestamp()
     WHERE id = NEW.conversation_id
    RETURNING head INTO NEW.seq;
    NEW.seq := coalesce(NEW.seq, 0); -- no such conversation: the foreign key says so
    INSERT INTO search_queue (message_id) VALUES (NEW.id);
    RETURN NEW;
END $$;
CREATE TRIGGER number_foreign_message BEFORE INSERT ON messages
    FOR EACH ROW WHEN (NEW.seq IS NULL) EXECUTE FUNCTION hwlab_number_foreign_message();
