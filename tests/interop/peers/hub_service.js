'use strict';
// Microsoft's Node service SDK over AMQP, sending to devices and receiving feedback as a case tells it to.
//
// stdin:  one JSON object a line. The first: {"connection_string", "transport": "tcp" | "ws"}. Each other is an order:
//         {"do": "open" | "send" | "feedback" | "files" | "close"} with what the functions below take. The end of stdin ends it.
// stdout: for each order, when it is done, {"did": …, "error": null | the error's class, "description"}; and as they come
//         {"saw": "feedback" | "file" | "error", …}.
// stderr: every frame, with DEBUG=rhea:frames in the environment.
//
// The CA comes in the environment (NODE_EXTRA_CA_CERTS), as the SDK's users hand it over.

const { Client } = require('azure-iothub');
const { AmqpWs } = require('azure-iothub/dist/amqp_ws.js');
const { Message } = require('azure-iot-common');

let client;

const orders = {
  open: () => client.open(),

  send({ to, message }) {
    const made = new Message(message.body);
    for (const key of ['messageId', 'ack', 'expiryTimeUtc', 'correlationId', 'contentType', 'contentEncoding']) {
      if (message[key] !== undefined) {
        made[key] = message[key];
      }
    }
    for (const [key, value] of Object.entries(message.properties || {})) {
      made.properties.add(key, value);
    }
    return client.send(to, made);
  },

  // The first batch is settled by the first word, and so on; the last word goes for all that follow.
  async feedback({ settle }) {
    const words = [...settle];
    const receiver = receiverIn(await client.getFeedbackReceiver());
    receiver.on('error', (error) => say({ saw: 'error', error: error.name }));
    receiver.on('message', async (message) => {
      const word = words.length > 1 ? words.shift() : words[0];
      const settled = await receiver[word](message).then(() => null, (error) => error.name);
      say({ saw: 'feedback', records: JSON.parse(message.getData().toString()), word, error: settled });
    });
  },

  async files() {
    const receiver = receiverIn(await client.getFileNotificationReceiver());
    receiver.on('error', (error) => say({ saw: 'error', error: error.name }));
    receiver.on('message', (message) => say({ saw: 'file', body: message.getData().toString() }));
  },

  close: () => client.close(),
};

// The promise gives it wrapped.
function receiverIn(given) {
  return given.result || given;
}

function say(fact) {
  process.stdout.write(`${JSON.stringify(fact)}\n`);
}

async function obey(line) {
  const order = JSON.parse(line);
  try {
    await orders[order.do](order);
    say({ did: order.do, error: null });
  } catch (error) {
    say({ did: order.do, error: error.name, description: error.message });
  }
}

let turn = Promise.resolve();
require('readline')
  .createInterface({ input: process.stdin })
  .once('line', (line) => {
    const job = JSON.parse(line);
    client = job.transport === 'ws' ? Client.fromConnectionString(job.connection_string, AmqpWs) : Client.fromConnectionString(job.connection_string);
  })
  .on('line', (line) => {
    if ('do' in JSON.parse(line)) {
      turn = turn.then(() => obey(line));
    }
  })
  .on('close', () => process.exit(0));
