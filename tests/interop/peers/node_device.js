'use strict';
// Microsoft's Node device SDK, doing what a case tells it and saying what it sees.
//
// stdin:  one JSON object a line. The first says how to be made:
//         {"transport": "tcp" | "ws", "module": false,
//          "connection_string" | "token": a signature | "key": {"connection_string", "ttl_s", "margin_s"},
//          "cert", "key_pem", "retry": true}
//         Each other is an order: {"do": "open" | …} with what the functions below take. The end of stdin closes.
// stdout: for each order, when it is done, {"did": …, "error": null | the error's class, …}; and as they come
//         {"saw": "message" | "input" | "call" | "desired" | "disconnect" | "token", …}.
// stderr: every frame, with DEBUG=rhea:frames in the environment.
//
// The CA comes in the environment (NODE_EXTRA_CA_CERTS), as the SDK's users hand it over.

const { Client, ModuleClient, Message, SharedAccessKeyAuthenticationProvider } = require('azure-iot-device');
const { NoRetry } = require('azure-iot-common');
const { Amqp, AmqpWs } = require('azure-iot-device-amqp');

let client;
let twin;

function make(job) {
  const transport = job.transport === 'ws' ? AmqpWs : Amqp;
  const kind = job.module ? ModuleClient : Client;
  if (job.token) {
    client = kind.fromSharedAccessSignature(job.token, transport);
  } else if (job.key) {
    const { connection_string, ttl_s, margin_s } = job.key;
    const provider = SharedAccessKeyAuthenticationProvider.fromConnectionString(connection_string, ttl_s, margin_s);
    provider.on('newTokenAvailable', () => say({ saw: 'token' }));
    client = kind.fromAuthenticationProvider(provider, transport);
  } else {
    client = kind.fromConnectionString(job.connection_string, transport);
  }
  if (!job.retry) {
    client.setRetryPolicy(new NoRetry());
  }
  client.on('error', (error) => say({ saw: 'error', error: error.name }));
  client.on('disconnect', ({ transportObj: error }) => say({ saw: 'disconnect', error: error ? error.name : null }));
  return job.cert ? client.setOptions({ cert: job.cert, key: job.key_pem }) : Promise.resolve();
}

const orders = {
  open: () => client.open(),

  send: (order) => client.sendEvent(messageOf(order.message)),

  output: (order) => client.sendOutputEvent(order.output, messageOf(order.message)),

  batch: (order) => client.sendEventBatch(order.messages.map(messageOf)),

  async burst(order) {
    let accepted = 0;
    const sends = [];
    for (let number = 0; number < order.count; number++) {
      const message = messageOf({ body: 'burst', message_id: `b-${number}` });
      sends.push(client.sendEvent(message).then(() => accepted++));
    }
    await Promise.all(sends);
    return { accepted };
  },

  // The first message is settled by the first word, and so on; the last word goes for all that follow.
  receive(order) {
    const words = [...order.settle];
    client.on('message', async (message) => {
      const word = words.length > 1 ? words.shift() : words[0];
      const settled = await client[word](message).then(() => null, (error) => error.name);
      say({ saw: 'message', ...factsOf(message), word, error: settled });
    });
  },

  inputs() {
    client.on('inputMessage', async (input, message) => {
      const settled = await client.complete(message).then(() => null, (error) => error.name);
      say({ saw: 'input', input, ...factsOf(message), error: settled });
    });
  },

  answer(order) {
    const take = client.onMethod ? 'onMethod' : 'onDeviceMethod';
    client[take](order.method, async (request, response) => {
      const error = await response.send(order.status, order.payload).then(() => null, (why) => why.name);
      say({ saw: 'call', method: request.methodName, payload: request.payload, error });
    });
    // It resolves nothing: the links are there once the hub can call.
  },

  // Takes calls, and answers none.
  silence(order) {
    const take = client.onMethod ? 'onMethod' : 'onDeviceMethod';
    client[take](order.method, () => {});
  },

  async twin() {
    twin = await client.getTwin();
    return { desired: twin.properties.desired, reported: twin.properties.reported };
  },

  report: (order) =>
    new Promise((resolve, reject) => {
      twin.properties.reported.update(order.patch, (error) => (error ? reject(error) : resolve()));
    }),

  watch() {
    twin.on('properties.desired', (patch) => say({ saw: 'desired', patch }));
  },

  renew: (order) =>
    new Promise((resolve, reject) => {
      client.updateSharedAccessSignature(order.token, (error) => (error ? reject(error) : resolve()));
    }),

  close: () => client.close(),
};

function messageOf(wanted) {
  const message = new Message(wanted.base64 ? Buffer.from(wanted.base64, 'base64') : wanted.body);
  const names = {
    message_id: 'messageId',
    correlation_id: 'correlationId',
    content_type: 'contentType',
    content_encoding: 'contentEncoding',
    user_id: 'userId',
    to: 'to',
    expiry: 'expiryTimeUtc',
  };
  for (const [name, theirs] of Object.entries(names)) {
    if (wanted[name] !== undefined) {
      message[theirs] = wanted[name];
    }
  }
  if (wanted.security) {
    message.setAsSecurityMessage();
  }
  for (const [key, value] of Object.entries(wanted.properties || {})) {
    message.properties.add(key, value);
  }
  return message;
}

function factsOf(message) {
  const properties = {};
  for (let at = 0; at < message.properties.count(); at++) {
    const { key, value } = message.properties.getItem(at);
    properties[key] = value;
  }
  return {
    body: message.getData().toString(),
    id: message.messageId,
    correlation_id: message.correlationId,
    content_type: message.contentType,
    content_encoding: message.contentEncoding,
    to: message.to,
    expiry: message.expiryTimeUtc,
    properties,
  };
}

function say(fact) {
  process.stdout.write(JSON.stringify(fact) + '\n');
}

async function obey(order) {
  try {
    const more = order.do === undefined ? await make(order) : await orders[order.do](order);
    say({ did: order.do || 'make', error: null, ...(more && more.constructor === Object ? more : {}) });
  } catch (error) {
    say({ did: order.do || 'make', error: error.name, description: error.message });
  }
}

let before = Promise.resolve();
const lines = require('readline').createInterface({ input: process.stdin });
lines.on('line', (line) => {
  before = before.then(() => obey(JSON.parse(line)));
});
lines.on('close', () => before.then(() => process.exit(0)));
