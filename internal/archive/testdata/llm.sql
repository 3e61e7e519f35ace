CREATE TABLE [conversations] ([id] TEXT PRIMARY KEY, [name] TEXT, [model] TEXT);
CREATE TABLE [responses] ([id] TEXT PRIMARY KEY, [model] TEXT, [prompt] TEXT, [system] TEXT, [prompt_json] TEXT, [options_json] TEXT, [response] TEXT,
  [response_json] TEXT, [conversation_id] TEXT REFERENCES [conversations]([id]), [duration_ms] INTEGER, [datetime_utc] TEXT,
  [input_tokens] INTEGER, [output_tokens] INTEGER, [token_details] TEXT);
INSERT INTO conversations VALUES ('01h0', 'names for a server', 'gpt-4o-mini');
INSERT INTO responses (id, model, prompt, system, response, conversation_id, datetime_utc, input_tokens, output_tokens) VALUES
  ('01h1', 'gpt-4o-mini', 'a name?', 'be short', 'otter', '01h0', '2025-05-14T16:25:01.123456+00:00', 9, 2),
  ('01h2', 'gpt-4o', 'another?', 'be short', 'heron', '01h0', '2025-05-14T16:26:01.000000', NULL, NULL),
  ('01h3', 'gpt-4o', 'alone', NULL, 'yes', NULL, '2025-05-15T00:00:00.000000', NULL, NULL);

-- What newer versions keep beside an answer.
CREATE TABLE [attachments] ([id] TEXT PRIMARY KEY, [type] TEXT, [path] TEXT, [url] TEXT, [content] BLOB);
CREATE TABLE [prompt_attachments] ([response_id] TEXT REFERENCES [responses]([id]), [attachment_id] TEXT REFERENCES [attachments]([id]), [order] INTEGER,
  PRIMARY KEY ([response_id], [attachment_id]));
CREATE TABLE [fragments] ([id] INTEGER PRIMARY KEY, [hash] TEXT, [content] TEXT, [datetime_utc] TEXT, [source] TEXT);
CREATE TABLE [prompt_fragments] ([response_id] TEXT REFERENCES [responses]([id]), [fragment_id] INTEGER REFERENCES [fragments]([id]), [order] INTEGER,
  PRIMARY KEY ([response_id], [fragment_id], [order]));
CREATE TABLE [system_fragments] ([response_id] TEXT REFERENCES [responses]([id]), [fragment_id] INTEGER REFERENCES [fragments]([id]), [order] INTEGER,
  PRIMARY KEY ([response_id], [fragment_id], [order]));
CREATE TABLE [tool_calls] ([id] INTEGER PRIMARY KEY, [response_id] TEXT REFERENCES [responses]([id]), [tool_id] INTEGER, [name] TEXT, [arguments] TEXT, [tool_call_id] TEXT);
CREATE TABLE [tool_results] ([id] INTEGER PRIMARY KEY, [response_id] TEXT REFERENCES [responses]([id]), [tool_id] INTEGER, [name] TEXT, [output] TEXT, [tool_call_id] TEXT);
ALTER TABLE [responses] ADD COLUMN [reasoning] TEXT;
INSERT INTO responses (id, model, prompt, response, reasoning, conversation_id, datetime_utc) VALUES
  ('01h4', 'gpt-4o', 'what is wrong?', '', NULL, '01h3', '2025-05-16T00:00:00.000000'),
  ('01h5', 'gpt-4o', '', 'the fan', 'it is hot', '01h3', '2025-05-16T00:00:05.000000');
INSERT INTO fragments VALUES (1, 'x', 'temp 90', '2025-05-16', 'log.txt'), (2, 'y', 'be kind', '2025-05-16', NULL);
INSERT INTO prompt_fragments VALUES ('01h4', 1, 0);
INSERT INTO system_fragments VALUES ('01h4', 2, 0);
INSERT INTO attachments VALUES ('p', 'image/png', NULL, NULL, X'89504E47'), ('q', 'audio/wav', '/tmp/noise.wav', NULL, NULL);
INSERT INTO prompt_attachments VALUES ('01h4', 'p', 0), ('01h4', 'q', 1);
INSERT INTO tool_calls (response_id, name, arguments) VALUES ('01h4', 'sensors', '{"chip": "nct"}');
INSERT INTO tool_results (response_id, name, output) VALUES ('01h5', 'sensors', '0 RPM');
