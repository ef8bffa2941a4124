// What a queue can be told by its arguments, and which of it by a policy or an operator policy: RabbitMQ's names, in groups
// by the types that take them.

// [name without `x-`, meaning, where it may be set: a an argument, p a policy, o an operator policy]
const CLASSIC_AND_QUORUM = [
  ['message-ttl', 'Milliseconds a message may stay', 'apo'],
  ['expires', 'Milliseconds without use until the queue deletes itself', 'apo'],
  ['max-length', 'Messages at most', 'apo'],
  ['overflow', 'What happens when it is full: drop-head, reject-publish, or reject-publish-dlx (classic queues)', 'apo'],
  ['dead-letter-exchange', 'Where rejected and expired messages go; empty text is the default exchange', 'ap'],
  ['dead-letter-routing-key', 'Their routing key; the original one without it', 'ap'],
  ['single-active-consumer', 'true: one consumer at a time, the next one when it goes', 'a'],
];
const ANY = [
  ['max-length-bytes', 'Bytes of bodies at most; of a stream, bytes of data that it keeps', 'apo'],
  ['queue-leader-locator', 'Where its leader starts: client-local or balanced', 'ap'],
];
const CLASSIC = [['max-priority', 'Priorities it knows, 1 to 255; a few are enough', 'a']];
const QUORUM = [
  ['delivery-limit', 'Deliveries of a message before it is dead-lettered; negative is no limit', 'apo'],
  ['dead-letter-strategy', 'at-most-once or at-least-once; the latter needs overflow = reject-publish', 'ap'],
  ['consumer-timeout', 'Milliseconds a consumer may hold a message', 'ap'],
  ['delayed-retry-type', 'Which messages come back later: disabled, all, failed or returned', 'apo'],
  ['delayed-retry-min', 'Milliseconds until the first retry', 'apo'],
  ['delayed-retry-max', 'Milliseconds that the wait grows to', 'apo'],
  ['quorum-initial-group-size', 'Members at first', 'a'],
  ['target-group-size', 'Members it is brought to', 'po'],
];
const STREAM = [
  ['max-age', 'How long data is kept: a number and Y, M, D, h, m or s, such as 7D', 'apo'],
  ['stream-max-segment-size-bytes', 'Bytes of a segment; data goes a segment at a time', 'ap'],
  ['stream-filter-size-bytes', 'Bytes of a filter, 16 to 255', 'ap'],
  ['initial-cluster-size', 'Members at first', 'ap'],
];
const EXCHANGE = [['alternate-exchange', 'Where messages go that no binding matches', 'p']];

// [title, rows, the types of queue that take them]
const GROUPS = [
  ['Every kind of queue', ANY, ['classic', 'quorum', 'stream']], ['Classic and quorum', CLASSIC_AND_QUORUM, ['classic', 'quorum']],
  ['Classic', CLASSIC, ['classic']], ['Quorum', QUORUM, ['quorum']], ['Stream', STREAM, ['stream']], ['Exchanges', EXCHANGE, []],
];

const groups = (where, prefix = '', from = GROUPS) => from.map(([title, rows]) => [title, rows.filter(([, , may]) => may.includes(where)).map(([name, meaning]) => [`${prefix}${name}`, meaning])]).filter(([, rows]) => rows.length > 0);

/** [title, [[name, meaning]]] of what a queue of a type may be declared with; without a type, of any. */
export const queueArguments = (type) => groups('a', 'x-', type ? GROUPS.filter(([, , types]) => types.includes(type)) : GROUPS);

/** The same of what may be set where. */
export const POLICY_KEYS = groups('p');
export const OPERATOR_POLICY_KEYS = groups('o');
