// amqplib by TLS, against the node at AMQPS_PORT, with the certificates that `leveret dev-certs` made in TLS_FOLDER.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import amqp, { credentials } from 'amqplib';
import { within } from './harness.js';

const port = process.env.AMQPS_PORT;
const skip = port ? false : 'no AMQPS_PORT';
const file = (name) => readFileSync(join(process.env.TLS_FOLDER, name));

async function roundTrip(options, user = 'guest:guest@') {
  const connection = await amqp.connect(`amqps://${user}localhost:${port}`, options);
  connection.on('error', () => {});
  try {
    const channel = await connection.createConfirmChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    channel.sendToQueue(queue, Buffer.from('by TLS'));
    await channel.waitForConfirms();
    const message = await within(channel.get(queue, { noAck: true }), 'a message');
    assert.equal(message.content.toString(), 'by TLS');
  } finally {
    await connection.close();
  }
}

test('TLS: versions 1.2 and 1.3', { skip }, async () => {
  const ca = [file('ca_certificate.pem')];
  await roundTrip({ ca, maxVersion: 'TLSv1.2' });
  await roundTrip({ ca, minVersion: 'TLSv1.3' });
});

test('TLS: a server that nobody vouches for is not talked to', { skip }, async () => {
  await assert.rejects(roundTrip({}), /certificate/);
});

test('TLS: a certificate logs its user in', { skip }, async () => {
  const ca = [file('ca_certificate.pem')];
  const own = { ca, cert: file('client_certificate.pem'), key: file('client_key.pem') };
  await roundTrip({ ...own, credentials: credentials.external() }, '');
  await assert.rejects(roundTrip({ ca, credentials: credentials.external() }, ''), /EXTERNAL/);
});
