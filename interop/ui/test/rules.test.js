// The rules the pages work out themselves, as data: each module is loaded by the browser that will run it.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, open, pages } from './browser.js';

let browser;
let tab;

before(async () => {
  browser = await launch();
  tab = await open(browser);
  await tab.goto(pages);
});
after(() => browser.close());

/** What `name` of a module gives for these arguments. */
const call = (module, name, ...given) => tab.evaluate(async ([url, what, values]) => {
  const plain = (value) => (value instanceof Set ? [...value] : value);
  const result = (await import(url))[what](...values);
  return result && typeof result === 'object' && !Array.isArray(result) ? Object.fromEntries(Object.entries(result).map(([key, value]) => [key, plain(value)])) : result;
}, [new URL(`js/${module}.js`, pages).href, name, given]);

const takes = async (type, binding, key, headers, wanted) =>
  assert.equal(await call('routing', 'takes', type, { routing_key: '', arguments: {}, ...binding }, key, headers), wanted, JSON.stringify({ type, binding, key, headers }));

test('exchange types take what RabbitMQ’s take', async () => {
  const topic = [
    ['a.*', 'a.b', true], ['a.*', 'a', false], ['a.*', 'a.b.c', false], ['a.#', 'a', true], ['a.#', 'a.b.c', true], ['#', '', true], ['#.z', 'a.b.z', true], ['#.z', 'a.b', false], ['*.#.*', 'a.b', true], ['*.#.*', 'a', false], ['', '', true], ['*', '', true],
  ];
  for (const [routing_key, key, wanted] of topic) await takes('topic', { routing_key }, key, {}, wanted);
  await takes('direct', { routing_key: 'a' }, 'a', {}, true);
  await takes('direct', { routing_key: 'a' }, 'a.b', {}, false);
  await takes('fanout', { routing_key: 'a' }, 'z', {}, true);
  const both = { 'x-match': 'all', a: 1, b: 'x' };
  await takes('headers', { arguments: both }, '', { a: 1, b: 'x' }, true);
  await takes('headers', { arguments: both }, '', { a: 1 }, false);
  await takes('headers', { arguments: both }, '', { a: '1', b: 'x' }, false);
  await takes('headers', { arguments: { ...both, 'x-match': 'any' } }, '', { b: 'x' }, true);
  await takes('headers', { arguments: { 'x-match': 'all', 'x-tenant': 1 } }, '', {}, true);
  await takes('headers', { arguments: { 'x-match': 'all-with-x', 'x-tenant': 1 } }, '', {}, false);
  await takes('headers', { arguments: { 'x-match': 'any' } }, '', { a: 1 }, false);
  await takes('headers', { arguments: { 'x-match': 'all', a: null } }, '', { a: 'whatever' }, true);
});

test('routes: exchange to exchange, circles, the default exchange, an alternate exchange', async () => {
  const found = await tab.evaluate(async (url) => {
    const { route } = await import(url);
    const exchange = (name, type, more) => [name, { name, type, arguments: {}, ...more }];
    const bind = (source, destination, routing_key, kind = 'queue') => ({ source, destination, destination_type: kind, routing_key, arguments: {}, properties_key: routing_key });
    const topology = {
      exchanges: new Map([exchange('a', 'topic', { arguments: { 'alternate-exchange': 'lost' } }), exchange('b', 'fanout'), exchange('lost', 'fanout')]),
      bindings: [bind('a', 'b', 'x.#', 'exchange'), bind('b', 'a', '', 'exchange'), bind('b', 'one', ''), bind('lost', 'two', '')],
      queues: new Set(['one', 'two', 'three']),
    };
    return [['a', 'x.y'], ['a', 'nothing'], ['', 'three'], ['', 'four']].map(([start, key]) => [...route(topology, start, key).queues]);
  }, new URL('js/routing.js', pages).href);
  assert.deepEqual(found, [['one'], ['two'], ['three'], []]);
});

test('limits: the source that wins', async () => {
  const check = async (queue, policy, operator, wanted) => {
    const rows = await call('limits', 'effectiveLimits', queue, policy, operator);
    assert.deepEqual(rows.map(({ key, value, source }) => [key, value, source]), wanted);
  };
  const argument = 'argument of the queue';
  await check({ arguments: {} }, undefined, undefined, []);
  await check({ arguments: { 'x-max-length': 100 } }, { name: 'p', definition: { 'max-length': 50 } }, undefined, [['max-length', 50, 'policy p']]);
  await check({ arguments: { 'x-max-length': 10 } }, { name: 'p', definition: { 'max-length': 50 } }, { name: 'o', definition: { 'max-length': 20 } }, [['max-length', 10, argument]]);
  await check({ arguments: { 'x-overflow': 'drop-head' } }, { name: 'p', definition: { overflow: 'reject-publish' } }, undefined, [['overflow', 'drop-head', argument]]);
  const stream = { type: 'stream', arguments: { 'x-max-length-bytes': 10, 'x-max-age': '7D' } };
  await check(stream, { name: 'p', definition: { 'max-length-bytes': 50 } }, undefined, [['max-length-bytes', 50, 'policy p'], ['max-age', '7D', argument]]);
  await check(stream, { name: 'p', definition: { 'max-length-bytes': 50 } }, { name: 'o', definition: { 'max-length-bytes': 20 } }, [['max-length-bytes', 20, 'operator policy o'], ['max-age', '7D', argument]]);
  await check({ arguments: {}, policy: 'p', effective_policy_definition: { 'message-ttl': 9 } }, undefined, undefined, [['message-ttl', 9, 'policy p']]);
});

test('policies: which one a new one would push aside', async () => {
  const policy = (name, pattern, priority, more) => ({ name, pattern, priority, 'apply-to': 'queues', ...more });
  const objects = [{ kind: 'queue', name: 'a1', type: 'classic' }, { kind: 'queue', name: 'a2', type: 'stream' }, { kind: 'exchange', name: 'a3', type: 'topic' }];
  const check = async (one, others, wanted) => {
    const rows = await call('policies', 'preview', one, others, objects);
    assert.deepEqual(rows.map(({ object, before, effect }) => [object.name, before?.name, effect]), wanted);
  };
  const old = policy('old', '^a1', 5);
  await check(policy('new', '^a', 1), [old], [['a1', 'old', 'loses'], ['a2', undefined, 'applies']]);
  await check(policy('new', '^a', 9), [old], [['a1', 'old', 'applies'], ['a2', undefined, 'applies']]);
  await check(policy('old', '^a1', 5), [old], [['a1', 'old', 'same']]);
  await check(policy('new', '^a', 1, { 'apply-to': 'streams' }), [], [['a2', undefined, 'applies']]);
  await check(policy('new', '^a', 1, { 'apply-to': 'exchanges' }), [], [['a3', undefined, 'applies']]);
  await check(policy('new', '(', 1), [], []);
});

test('definitions: what a file would add and change', async () => {
  const present = { queues: [{ name: 'a', vhost: '/', durable: true, arguments: { x: 1, y: 2 } }], users: [{ name: 'ann', tags: ['monitoring'] }] };
  const check = async (file, wanted) => {
    const rows = await call('definitions', 'difference', file, present);
    assert.deepEqual(rows.map(({ name, effect, fields }) => [name, effect, ...fields]), wanted);
  };
  await check({ queues: [{ name: 'a', vhost: '/', durable: true, arguments: { y: 2, x: 1 } }] }, [['/ · a', 'unchanged']]);
  await check({ queues: [{ name: 'a', vhost: '/', durable: false, arguments: { y: 2, x: 1 } }, { name: 'b', vhost: '/' }] }, [['/ · a', 'changed', 'durable'], ['/ · b', 'added']]);
  await check({ users: [{ name: 'ann', tags: 'monitoring' }] }, [['ann', 'unchanged']]);
  await check({}, []);
});

test('the configuration’s lines', async () => {
  const check = async (text, wanted) => assert.deepEqual((await call('pages/configuration', 'entries', text)).map(({ key, value, source }) => [key, value, source]), wanted);
  await check('# node rabbit@a, data in /var\n\nheartbeat = 60                  # default\n', [['heartbeat', '60', 'default']]);
  await check('# cluster_name is not set', [['cluster_name', undefined, '']]);
  await check('log.file = a # b    # /etc/rabbitmq.conf:7', [['log.file', 'a # b', '/etc/rabbitmq.conf:7']]);
  await check('default_pass = ', [['default_pass', '', '']]);
});

test('which messages an address means', async () => {
  const check = async (query, parameters, filter) => {
    assert.deepEqual(await call('sweep', 'criteria', query), parameters);
    assert.deepEqual(await call('sweep', 'filterOf', query), filter);
  };
  await check({}, {}, {});
  await check({ text: 'a', key: 'k', state: 'ready', offset: '20' }, { text: 'a', routing_key: 'k' }, { text: 'a', routing_key: 'k' });
  await check({ header: 'x.y', header_value: '1', property: 'type', property_value: 't' }, { 'property.type': 't', 'header.x.y': '1' }, { properties: { type: 't' }, headers: { 'x.y': '1' } });
  await check({ header_value: '1' }, {}, {});
});

test('arguments as lines, and back', async () => {
  const check = async (text, wanted) => {
    assert.deepEqual(await call('components/form', 'argumentsFrom', text), wanted);
    const again = await call('components/form', 'argumentsText', wanted);
    assert.deepEqual(await call('components/form', 'argumentsFrom', again), wanted);
  };
  await check('', {});
  await check('a = 1\nb=true\n c = text = more \n', { a: 1, b: true, c: 'text = more' });
  await check('a = "1"\nb = [1,"x"]\nc = -1.5', { a: '1', b: [1, 'x'], c: -1.5 });
  await assert.rejects(call('components/form', 'argumentsFrom', 'no value'), /key = value/);
  await assert.rejects(call('components/form', 'argumentsFrom', 'a = [1'), /not valid JSON/);
});

test('bodies as text, JSON and hex', async () => {
  const json = await call('messages', 'bodyOf', { payload: '{"a":1}', payload_encoding: 'string' });
  assert.equal(json.json, '{\n  "a": 1\n}');
  const binary = await call('messages', 'bodyOf', { payload: '/wAB', payload_encoding: 'base64' });
  assert.equal(binary.text, undefined);
  const dump = await tab.evaluate(async (url) => (await import(url)).hex(Uint8Array.from([0xff, 0x00, 0x41])), new URL('js/messages.js', pages).href);
  assert.match(dump, /^000000 {2}ff 00 41 +\.\.A$/);
  assert.equal(await call('messages', 'originOf', { properties: { headers: { 'x-death': [{ queue: 'late' }, { queue: 'first' }] } } }), 'first');
});
