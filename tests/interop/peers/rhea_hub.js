'use strict';
// rhea as a hub for our client, over TLS: takes telemetry, answers `$cbs`, and sends commands. See proton_hub.py for
// what it reads, holds back and says; a user and a password for PLAIN come as {"user", "password"}.

const fs = require('fs');
const rhea = require('rhea');

const job = JSON.parse(fs.readFileSync(0, 'utf8'));
const ids = [];
const unsettled = [];
const outcomes = {};
let transfers = 0;
let most = 0;
let tokens = 0;
let replies = null;

const container = rhea.create_container({ id: 'rhea' });
if (job.user) {
  container.sasl_server_mechanisms.enable_plain((user, password) => user === job.user && password === job.password);
} else {
  container.sasl_server_mechanisms.enable_anonymous();
}

const isCbs = (address) => address.endsWith('$cbs');

// The termini are named anew: rhea has one empty list for all that it reads empty, and writes into what it is handed.
container.on('receiver_open', ({ receiver }) => {
  receiver.set_target({ address: receiver.target.address });
  receiver.set_source({ address: receiver.source.address });
  receiver.add_credit(5000);
});

container.on('sender_open', ({ sender }) => {
  sender.set_source({ address: sender.source.address });
  sender.set_target({ address: sender.target.address });
  if (isCbs(sender.source.address)) {
    replies = sender;
  } else {
    // Once there is credit.
    sender.once('sendable', () => {
      for (const [number, { body, id, properties }] of job.commands.entries()) {
        const tag = Buffer.from(`lock-token-${String(number).padStart(5, '0')}`);
        const data = rhea.message.data_section(Buffer.from(body));
        sender.send({ body: data, message_id: id, application_properties: properties }, tag);
      }
    });
  }
});

container.on('message', ({ message, delivery, receiver }) => {
  if (isCbs(receiver.target.address)) {
    delivery.accept();
    tokens += 1;
    const status = { 'status-code': rhea.types.wrap_int(200), 'status-description': 'OK' };
    replies.send({ correlation_id: message.message_id, application_properties: status, body: null });
    return;
  }
  transfers += 1;
  // rhea leaves what has another message-format as it came: a batch is a message whose data sections are messages.
  const batch = Buffer.isBuffer(message) ? [rhea.message.decode(message).body.content].flat() : null;
  const messages = batch ? batch.map((data) => rhea.message.decode(data)) : [message];
  ids.push(...messages.map((one) => one.message_id));
  unsettled.push(delivery);
  most = Math.max(most, unsettled.length);
  if (unsettled.length >= job.window || ids.length >= job.messages) {
    unsettled.splice(0).forEach((taken) => taken.accept());
  }
});

for (const outcome of ['accepted', 'rejected', 'released', 'modified']) {
  container.on(outcome, ({ delivery, sender }) => {
    if (sender !== replies) {
      outcomes[delivery.tag.toString()] = outcome;
    }
  });
}

container.on('connection_close', () => {
  const told = Object.keys(outcomes).sort().map((tag) => outcomes[tag]);
  say({ ids, transfers, most_unsettled: most, tokens, outcomes: told });
  // The answer to `close` goes first.
  setImmediate(() => process.exit(0));
});

const say = (fact) => process.stdout.write(JSON.stringify(fact) + '\n');
const files = { key: fs.readFileSync(job.key), cert: fs.readFileSync(job.certificate) };
const receiver_options = { credit_window: 0, autoaccept: false };
const server = container.listen({ host: '127.0.0.1', port: 0, transport: 'tls', receiver_options, ...files });
server.on('listening', () => say({ ready: true, port: server.address().port }));
setTimeout(() => process.exit(1), job.timeout_s * 1000).unref();
