-- A log that was begun before version 0.32: answer 01k1 stands in the old table alone, and in the chain that the first turn was told.
CREATE TABLE "conversations" ("id" TEXT PRIMARY KEY, "name" TEXT, "model" TEXT);
CREATE TABLE "responses" ("id" TEXT PRIMARY KEY, "model" TEXT, "prompt" TEXT, "system" TEXT, "prompt_json" TEXT, "options_json" TEXT, "response" TEXT,
  "response_json" TEXT, "conversation_id" TEXT REFERENCES "conversations"("id"), "duration_ms" INTEGER, "datetime_utc" TEXT,
  "input_tokens" INTEGER, "output_tokens" INTEGER, "token_details" TEXT, "schema_id" TEXT, "resolved_model" TEXT, "reasoning" TEXT);
CREATE TABLE "attachments" ("id" TEXT PRIMARY KEY, "type" TEXT, "path" TEXT, "url" TEXT, "content" BLOB);
CREATE TABLE "fragments" ("id" INTEGER PRIMARY KEY, "hash" TEXT, "content" TEXT, "datetime_utc" TEXT, "source" TEXT);
CREATE TABLE "messages" ("hash" TEXT PRIMARY KEY, "parent_hash" TEXT REFERENCES "messages"("hash"), "role" TEXT, "provider_metadata" TEXT);
CREATE TABLE "parts" ("id" INTEGER PRIMARY KEY, "message_hash" TEXT REFERENCES "messages"("hash"), "position" INTEGER, "type" TEXT, "tool_name" TEXT, "text" TEXT,
  "payload" TEXT);
CREATE TABLE "part_attachments" ("part_id" INTEGER, "attachment_id" TEXT, "order" INTEGER, PRIMARY KEY ("part_id", "attachment_id", "order"));
CREATE TABLE "part_fragments" ("part_id" INTEGER, "fragment_id" INTEGER, "order" INTEGER, PRIMARY KEY ("part_id", "fragment_id", "order"));
CREATE TABLE "threads" ("id" TEXT PRIMARY KEY, "name" TEXT, "tip_message_hash" TEXT, "forked_from" TEXT, "datetime_utc" TEXT);
CREATE TABLE "turns" ("id" TEXT PRIMARY KEY, "thread_id" TEXT, "parent_message_hash" TEXT, "tip_message_hash" TEXT, "model" TEXT, "resolved_model" TEXT,
  "options_json" TEXT, "schema_id" TEXT, "input_tokens" INTEGER, "output_tokens" INTEGER, "token_details" TEXT, "duration_ms" INTEGER, "datetime_utc" TEXT);
INSERT INTO conversations VALUES ('01k0', 'a bird', 'gpt-4o');
INSERT INTO responses (id, model, prompt, response, conversation_id, datetime_utc, input_tokens, output_tokens) VALUES
  ('01k1', 'gpt-4o', 'a bird?', 'a heron', '01k0', '2026-07-01T10:00:00.000000', 5, 2),
  ('01k2', 'gpt-5', 'and another?', 'a grebe', '01k0', '2026-08-01T10:00:00.000000', 9, 3);
INSERT INTO threads VALUES ('01k0', 'a bird', 'b2:04', NULL, '2026-08-01 10:00:00+00:00'), ('01k5', 'a bird, too', 'b2:09', '01k0', '2026-08-02 10:00:00+00:00');
INSERT INTO messages VALUES
  ('b2:01', NULL, 'user', NULL), ('b2:02', 'b2:01', 'assistant', NULL), ('b2:03', 'b2:02', 'user', NULL), ('b2:04', 'b2:03', 'assistant', NULL),
  ('b2:05', 'b2:02', 'system', NULL), ('b2:06', 'b2:05', 'user', NULL), ('b2:07', 'b2:06', 'assistant', NULL), ('b2:08', 'b2:07', 'user', NULL),
  ('b2:09', 'b2:08', 'assistant', NULL);
INSERT INTO fragments VALUES (7, 'f', 'herons eat fish', '2026-08-02', 'bird.md');
INSERT INTO attachments VALUES ('j', 'image/jpeg', NULL, 'https://lab.test/heron.jpg', NULL);
INSERT INTO parts VALUES
  (1, 'b2:01', 0, 'text', NULL, 'a bird?', NULL), (2, 'b2:02', 0, 'text', NULL, 'a heron', NULL), (3, 'b2:03', 0, 'text', NULL, 'and another?', NULL),
  (4, 'b2:04', 0, 'text', NULL, 'a grebe', NULL), (5, 'b2:05', 0, 'text', NULL, 'be short', NULL),
  (6, 'b2:06', 0, 'text', NULL, NULL, '{"text_ref": [{"fragment": 7}, {"literal": "\nhow many?"}]}'), (7, 'b2:06', 1, 'attachment', NULL, NULL, '{"attachment_id": "j"}'),
  (8, 'b2:07', 0, 'reasoning', NULL, 'count them', NULL), (9, 'b2:07', 1, 'tool_call', 'count', NULL, '{"name": "count", "arguments": {"what": "fish"}, "tool_call_id": "c1"}'),
  (10, 'b2:08', 0, 'tool_result', 'count', NULL, '{"name": "count", "output": "3", "tool_call_id": "c1"}'), (11, 'b2:09', 0, 'text', NULL, 'three', NULL);
INSERT INTO part_attachments VALUES (7, 'j', 0);
INSERT INTO part_fragments VALUES (6, 7, 0);
INSERT INTO turns (id, thread_id, parent_message_hash, tip_message_hash, model, input_tokens, output_tokens, datetime_utc) VALUES
  ('01k2', '01k0', 'b2:03', 'b2:04', 'gpt-5', 9, 3, '2026-08-01T10:00:00.000000+00:00'),
  ('01k6', '01k5', 'b2:06', 'b2:07', 'gpt-5', 20, 4, '2026-08-02T10:00:00.000000+00:00'),
  ('01k7', '01k5', 'b2:08', 'b2:09', 'gpt-5', NULL, NULL, '2026-08-02T10:00:09.000000+00:00');
