// OpenAI's own client against hwlab.

import assert from 'node:assert/strict';
import test from 'node:test';
import OpenAI from 'openai';
import { zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import { open, says, told } from './model.mjs';

const client = new OpenAI();
const model = 'test-model';
const nowhere = '00000000-0000-7000-8000-000000000000';

async function all(iterable) {
  const list = [];
  for await (const x of iterable) list.push(x);
  return list;
}

const texts = (items) => items.map((i) => `${i.role}: ${i.content[0].text}`);

test('models', async () => {
  const ids = (await all(client.models.list())).map((m) => m.id);
  assert.ok(ids.includes(model), `${ids}`);
  assert.equal((await client.models.retrieve(model)).id, model);
});

test('a text', async () => {
  await says({ text: 'Forty-' }, { text: 'two.' }, { usage: { InputTokens: 7, CachedTokens: 2, OutputTokens: 3 } });
  const r = await client.responses.create({ model, input: 'What is it?', instructions: 'Be brief.', temperature: 0.5, metadata: { a: 'b' } });
  assert.equal(r.output_text, 'Forty-two.');
  assert.equal(r.status, 'completed');
  assert.deepEqual(r.metadata, { a: 'b' });
  assert.equal(r.usage.total_tokens, 10);
  assert.equal(r.usage.input_tokens_details.cached_tokens, 2);
  assert.deepEqual(await told(), [{ Role: 'system', Text: 'Be brief.' }, { Role: 'user', Text: 'What is it?' }]);
  assert.equal((await client.responses.retrieve(r.id)).output_text, 'Forty-two.');
});

test('a conversation, its whole life', async () => {
  const c = await client.conversations.create({
    metadata: { rack: '2' },
    items: [{ type: 'message', role: 'developer', content: 'Speak plainly.' }, { type: 'message', role: 'user', content: 'one' }],
  });
  assert.deepEqual(c.metadata, { rack: '2' });
  for (let i = 0; i < 12; i++) {
    const r = await client.responses.create({ model, input: `q${i}`, conversation: c.id });
    assert.equal(r.conversation.id, c.id);
  }
  const oldest = await all(client.conversations.items.list(c.id, { order: 'asc', limit: 5 }));
  assert.equal(oldest.length, 26);
  assert.deepEqual(texts(oldest).slice(0, 4), ['developer: Speak plainly.', 'user: one', 'user: q0', 'assistant: ok']);
  const newest = await all(client.conversations.items.list(c.id)); // newest first, by default
  assert.deepEqual(newest, [...oldest].reverse());

  const r = await client.conversations.update(c.id, { metadata: { rack: '3' } });
  assert.deepEqual(r.metadata, { rack: '3' });
  assert.deepEqual((await client.conversations.retrieve(c.id)).metadata, { rack: '3' });
  assert.deepEqual(await client.conversations.delete(c.id), { id: c.id, object: 'conversation.deleted', deleted: true });
  await assert.rejects(client.conversations.retrieve(c.id), OpenAI.NotFoundError);
});

test('items, one by one', async () => {
  const c = await client.conversations.create();
  const added = await client.conversations.items.create(c.id, { items: [
    { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'one' }] },
    { type: 'message', role: 'assistant', content: 'two' },
    { type: 'function_call', call_id: 'call_1', name: 'look', arguments: '{}' },
    { type: 'function_call_output', call_id: 'call_1', output: 'nothing' },
  ] });
  assert.deepEqual(added.data.map((i) => i.type), ['message', 'message', 'function_call', 'function_call_output']);
  const first = await client.conversations.items.retrieve(added.data[0].id, { conversation_id: c.id });
  assert.deepEqual(first, added.data[0]);
  assert.equal((await client.conversations.items.delete(first.id, { conversation_id: c.id })).id, c.id);
  await assert.rejects(client.conversations.items.retrieve(first.id, { conversation_id: c.id }), OpenAI.NotFoundError);
  const left = await all(client.conversations.items.list(c.id, { order: 'asc', limit: 1 }));
  assert.deepEqual(left.map((i) => i.id), added.data.slice(1).map((i) => i.id));
});

test('a reply, and what it was asked with, and its end', async () => {
  const r = await client.responses.create({ model, input: [
    { role: 'developer', content: 'Speak plainly.' }, { role: 'user', content: 'one' }, { role: 'user', content: 'two' }] });
  const asked = await all(client.responses.inputItems.list(r.id, { order: 'asc', limit: 2 }));
  assert.deepEqual(texts(asked), ['developer: Speak plainly.', 'user: one', 'user: two']);
  await client.responses.delete(r.id);
  await assert.rejects(client.responses.retrieve(r.id), OpenAI.NotFoundError);
});

test('a reply goes on from another', async () => {
  await says({ text: 'An apple.' });
  const first = await client.responses.create({ model, input: 'Name a fruit.' });
  await client.responses.create({ model, input: 'And now?', previous_response_id: first.id });
  assert.deepEqual((await told()).map((m) => m.Text), ['Name a fruit.', 'An apple.', 'And now?']);
  const branch = await client.responses.create({ model, input: 'Another?', previous_response_id: first.id });
  assert.equal(branch.previous_response_id, first.id);
  assert.deepEqual((await told()).map((m) => m.Text), ['Name a fruit.', 'An apple.', 'Another?']);
});

test('events', async () => {
  await says({ read: [200, 0, 68] }, { gate: 'told', text: 'One ' }, { text: 'twö ' }, { text: '🦙.' });
  const stream = await client.responses.create({ model, input: 'Count.', stream: true });
  const events = await all(stream);
  assert.deepEqual(events.map((e) => e.sequence_number), events.map((_, i) => i));
  assert.equal(events[0].type, 'response.created');
  assert.equal(events.at(-1).type, 'response.completed');
  assert.equal(events.filter((e) => e.type === 'response.output_text.delta').map((e) => e.delta).join(''), 'One twö 🦙.');
});

test('the streaming helper', async () => {
  await says({ text: 'a ' }, { text: 'b ' }, { text: 'c' });
  let shown = '';
  const stream = client.responses.stream({ model, input: 'Go.' }).on('response.output_text.delta', (e) => (shown = e.snapshot));
  const last = await stream.finalResponse();
  assert.equal(shown, 'a b c');
  assert.equal(last.output_text, 'a b c');
});

const look = {
  type: 'function', name: 'look', description: 'Looks at a machine.', strict: true,
  parameters: { type: 'object', properties: { host: { type: 'string' } }, required: ['host'], additionalProperties: false },
};

test('a call, and what it gave', async () => {
  await says({ call: { id: 'call_a', name: 'look', arguments: ['{"host"', ':"nas"}'] } }, { finish: 'tool_calls' });
  const asked = await client.responses.create({ model, input: 'How is the NAS?', tools: [look], tool_choice: 'auto' });
  const call = asked.output.find((i) => i.type === 'function_call');
  assert.equal(call.name, 'look');
  assert.deepEqual(JSON.parse(call.arguments), { host: 'nas' });
  assert.deepEqual(asked.tools, [look]);
  await says({ text: 'It is warm.' });
  const output = { type: 'function_call_output', call_id: call.call_id, output: '41 degrees' };
  const after = await client.responses.create({ model, previous_response_id: asked.id, input: [output], tools: [look] });
  assert.equal(after.output_text, 'It is warm.');

  await says({ text: 'It is warm indeed.' });
  const whole = await client.responses.create({ model, tools: [look], input: [{ role: 'user', content: 'How is the NAS?' }, ...asked.output, output] });
  assert.equal(whole.output_text, 'It is warm indeed.');
});

test('two calls, streamed, in a conversation', async () => {
  const c = await client.conversations.create();
  await says({ text: 'Let me look.' }, { call: { index: 0, id: 'call_b', name: 'look', arguments: ['{"host":', '"nas"}'] } },
    { call: { index: 1, id: 'call_c', name: 'look', arguments: ['{"host":"ups"}'] } }, { finish: 'tool_calls' });
  const done = [];
  const stream = client.responses.stream({ model, input: 'How are they?', conversation: c.id, tools: [look] })
    .on('response.function_call_arguments.done', (e) => done.push(e.arguments));
  const r = await stream.finalResponse();
  assert.deepEqual(done, ['{"host":"nas"}', '{"host":"ups"}']);
  assert.deepEqual(r.output.map((i) => i.type), ['message', 'function_call', 'function_call']);
  const outputs = r.output.filter((i) => i.type === 'function_call').map((i) => ({ type: 'function_call_output', call_id: i.call_id, output: i.arguments }));
  await says({ text: 'Fine.' });
  assert.equal((await client.responses.create({ model, conversation: c.id, input: outputs, tools: [look] })).output_text, 'Fine.');
  const items = await all(client.conversations.items.list(c.id, { order: 'asc' }));
  assert.deepEqual(items.map((i) => i.type), ['message', 'message', 'function_call', 'function_call', 'function_call_output', 'function_call_output', 'message']);
});

test('a text of a form', async () => {
  await says({ text: '{"host":"nas",' }, { text: '"celsius":41}' });
  const format = zodTextFormat(z.object({ host: z.string(), celsius: z.number() }), 'reading');
  const r = await client.responses.parse({ model, input: 'How is the NAS?', text: { format } });
  assert.deepEqual(r.output_parsed, { host: 'nas', celsius: 41 });
  assert.equal(r.text.format.type, 'json_schema');
});

test('reasoning, and a refusal', async () => {
  await says({ reasoning: 'Let me ' }, { reasoning: 'think.' }, { text: 'Yes.' });
  const r = await client.responses.create({ model, input: 'Is it on?', reasoning: { effort: 'low' } });
  assert.deepEqual(r.output.map((i) => i.type), ['reasoning', 'message']);
  assert.equal(r.output[0].summary[0].text, 'Let me think.');
  await says({ refusal: 'No.' });
  const events = await all(await client.responses.create({ model, input: 'Break it.', stream: true }));
  assert.ok(events.some((e) => e.type === 'response.refusal.done' && e.refusal === 'No.'));
  assert.equal(events.at(-1).response.output[0].content[0].refusal, 'No.');
});

test('an image and a file', async () => {
  const r = await client.responses.create({ model, input: [{ role: 'user', content: [
    { type: 'input_text', text: 'What are they?' },
    { type: 'input_image', image_url: 'https://example.com/rack.png', detail: 'low' },
    { type: 'input_file', filename: 'fstab', file_data: `data:text/plain;base64,${btoa('/dev/sda1 / ext4')}` },
  ] }] });
  assert.equal(r.output_text, 'ok');
  const [item] = await all(client.responses.inputItems.list(r.id));
  assert.deepEqual(item.content.map((p) => p.type), ['input_text', 'input_image', 'input_file']);
});

test('not kept', async () => {
  await says({ text: 'One ' }, { text: 'two.' });
  const stream = client.responses.stream({ model, input: 'Count.', store: false });
  const r = await stream.finalResponse();
  assert.equal(r.output_text, 'One two.');
  assert.equal(r.store, false);
  await assert.rejects(client.responses.retrieve(r.id), OpenAI.NotFoundError);
});

test('cut by its limit', async () => {
  await says({ text: 'As far as' }, { finish: 'length' });
  const r = await client.responses.create({ model, input: 'Go on.', max_output_tokens: 16 });
  assert.equal(r.status, 'incomplete');
  assert.equal(r.incomplete_details.reason, 'max_output_tokens');
  assert.equal(r.output_text, 'As far as');
});

test('in the background, polled', async () => {
  await says({ gate: 'polled' }, { text: 'done' });
  let r = await client.responses.create({ model, input: 'Take your time.', background: true });
  assert.ok(['queued', 'in_progress'].includes(r.status), r.status);
  assert.ok(r.background);
  await open('polled');
  while (['queued', 'in_progress'].includes(r.status)) r = await client.responses.retrieve(r.id);
  assert.equal(r.status, 'completed');
  assert.equal(r.output_text, 'done');
});

test('a stream that broke is resumed', async () => {
  await says({ text: 'first ' }, { gate: 'resumed' }, { text: 'second' });
  const stream = await client.responses.create({ model, input: 'Go.', background: true, stream: true });
  let id, last, shown = '';
  for await (const e of stream) {
    if (e.type === 'response.created') id = e.response.id;
    last = e.sequence_number;
    if (e.type === 'response.output_text.delta') {
      shown += e.delta;
      break; // which closes the connection
    }
  }
  assert.equal(shown, 'first ');
  await open('resumed');
  const rest = await all(await client.responses.retrieve(id, { stream: true, starting_after: last }));
  assert.equal(rest[0].sequence_number, last + 1);
  for (const e of rest) if (e.type === 'response.output_text.delta') shown += e.delta;
  assert.equal(shown, 'first second');
  assert.equal(rest.at(-1).type, 'response.completed');

  const seen = [];
  const helper = client.responses.stream({ response_id: id, starting_after: last }).on('event', (e) => seen.push(e.sequence_number));
  assert.equal((await helper.finalResponse()).output_text, 'first second');
  assert.equal(seen[0], last + 1);
});

test('cancelled', async () => {
  await says({ text: 'so far' }, { gate: 'cancelled' }, { text: 'never' });
  const stream = await client.responses.create({ model, input: 'Go.', background: true, stream: true });
  let id, ended;
  for await (const e of stream) {
    if (e.type === 'response.created') id = e.response.id;
    if (e.type === 'response.output_text.delta') {
      const r = await client.responses.cancel(id);
      assert.equal(r.status, 'cancelled');
    }
    ended = e;
  }
  assert.equal(ended.type, 'response.incomplete');
  assert.equal(ended.response.status, 'cancelled');
  assert.equal((await client.responses.retrieve(id)).output_text, 'so far');
});

test('what a model fails with', async () => {
  await says({ text: 'Well' }, { error: 'out of memory' });
  const r = await client.responses.create({ model, input: 'Go.' });
  assert.equal(r.status, 'failed');
  assert.match(r.error.message, /out of memory/);
  assert.equal(r.output_text, 'Well');
});

test('errors have their types', async () => {
  const rejects = (promise, type, fields) =>
    assert.rejects(promise, (e) => {
      assert.ok(e instanceof type, `${e.constructor.name}: ${e.message}`);
      for (const [name, want] of Object.entries(fields)) assert.equal(e[name], want, name);
      return true;
    });
  await rejects(new OpenAI({ apiKey: 'wrong' }).models.list(), OpenAI.AuthenticationError, { code: 'invalid_api_key', type: 'authentication_error' });
  await rejects(client.responses.retrieve(`resp_${nowhere}`), OpenAI.NotFoundError, { code: 'not_found', type: 'invalid_request_error' });
  await rejects(client.conversations.retrieve(`conv_${nowhere}`), OpenAI.NotFoundError, { code: 'not_found' });
  await rejects(client.responses.create({ model, input: 'x', conversation: `conv_${nowhere}` }), OpenAI.NotFoundError, { param: 'conversation' });
  await rejects(client.responses.create({ model: 'nope', input: 'x' }), OpenAI.BadRequestError, { param: 'model', code: 'model_not_found' });
  await rejects(client.responses.create({ model, input: 'x', temperature: 3 }), OpenAI.BadRequestError, { param: 'temperature' });
  await rejects(client.responses.create({ model, input: [{ role: 'boss', content: 'x' }] }), OpenAI.BadRequestError, { param: 'input[0].role' });
  await rejects(client.responses.create({ model, input: [{ type: 'function_call_output', call_id: 'call_x', output: 'x' }] }), OpenAI.BadRequestError, { param: 'input' });
  await rejects(client.responses.create({ model, input: 'x', top_k: 4 }), OpenAI.BadRequestError, { param: 'top_k', code: 'unknown_parameter' });

  const key = { headers: { 'Idempotency-Key': 'one-key' } };
  const first = await client.responses.create({ model, input: 'once' }, key);
  assert.equal((await client.responses.create({ model, input: 'once' }, key)).id, first.id);
  await rejects(client.responses.create({ model, input: 'other' }, key), OpenAI.ConflictError, { code: 'idempotency_key_reused' });
});

test('a second question while one is answered', async () => {
  const c = await client.conversations.create();
  await says({ text: 'busy ' }, { gate: 'locked' }, { text: 'done' });
  const running = await client.responses.create({ model, input: 'one', conversation: c.id, background: true });
  await assert.rejects(client.responses.create({ model, input: 'two', conversation: c.id }, { maxRetries: 0 }), (e) => {
    assert.ok(e instanceof OpenAI.BadRequestError);
    assert.equal(e.code, 'conversation_locked');
    assert.equal(e.headers.get('x-should-retry'), 'true');
    return true;
  });
  const second = client.responses.create({ model, input: 'two', conversation: c.id }, { maxRetries: 10 }); // which the client tries again, as it is told
  await open('locked');
  assert.equal((await second).output_text, 'ok');
  assert.equal((await client.responses.retrieve(running.id)).output_text, 'busy done');
});
