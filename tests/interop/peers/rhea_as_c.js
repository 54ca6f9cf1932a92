'use strict';
// rhea in the shapes of Microsoft's C SDK, which none of the other peers can make: SASL MSSBCBS, ids that are ulongs,
// `$cbs` links with the address at both ends, a put-token that goes before the reply link is there, and all telemetry
// in batches (message-format 0x80013700, each data section a whole message).
//
// stdin:  one JSON object {"host", "port", "ca", "virtual_host", "device", "token",
//          "batches": [{"properties": of the batch, "messages": [{"body", "id", "properties"}, …]}, …]}
// stdout: one JSON object {"status": of the token, "correlated": the id came back as the ulong that it was,
//          "mechanism": that was used, "outcomes": [{"outcome", "condition"}, …] of the batches, in their order}
// stderr: every frame, with DEBUG=rhea:frames in the environment.

const fs = require('fs');
const rhea = require('rhea');

const BATCH = 0x80013700;

const job = JSON.parse(fs.readFileSync(0, 'utf8'));
const result = { outcomes: [] };
const mechanisms = {
  MSSBCBS: () => {
    result.mechanism = 'MSSBCBS';
    return { start: (done) => done(undefined, undefined), step: (_, done) => done() };
  },
};
const connection = rhea.connect({
  host: job.host,
  port: job.port,
  transport: 'tls',
  ca: fs.readFileSync(job.ca),
  servername: 'localhost',
  hostname: job.virtual_host,
  sasl_mechanisms: mechanisms,
  reconnect: false,
});

const both = { source: { address: '$cbs' }, target: { address: '$cbs' } };
const requests = connection.open_sender({ name: '$cbs-sender', ...both });
requests.once('sendable', () => {
  requests.send({
    message_id: rhea.types.wrap_ulong(0),
    application_properties: {
      operation: 'put-token',
      type: 'servicebus.windows.net:sastoken',
      name: `${job.virtual_host}/devices/${job.device}`,
    },
    body: job.token,
  });
});
// Only when the hub has taken the request is there a link for its answer.
requests.once('accepted', () => connection.open_receiver({ name: '$cbs-receiver', ...both }));

connection.on('message', ({ message }) => {
  result.status = message.application_properties['status-code'];
  result.correlated = message.correlation_id === 0;
  const telemetry = connection.open_sender({
    name: `link-snd-${job.device}-1`,
    source: { address: `link-snd-${job.device}-1-source` },
    target: { address: `amqps://${job.virtual_host}/devices/${job.device}/messages/events` },
    snd_settle_mode: 0,
  });
  // Each when the one before it has its outcome.
  const sendNext = () => {
    const at = result.outcomes.length;
    telemetry.send(encoded(job.batches[at]), `b${at}`, BATCH);
  };
  telemetry.once('sendable', sendNext);
  for (const outcome of ['accepted', 'rejected', 'released', 'modified']) {
    telemetry.on(outcome, ({ delivery }) => {
      const error = delivery.remote_state && delivery.remote_state.error;
      result.outcomes.push({ outcome, condition: error ? error.condition : null });
      if (result.outcomes.length === job.batches.length) {
        connection.close();
      } else {
        sendNext();
      }
    });
  }
});

// Whatever ends it, what was seen till then is said.
connection.on('disconnected', () => finish());
connection.on('connection_close', () => finish());
connection.on('connection_error', ({ connection: of }) => (result.error = of.error && of.error.condition));
connection.on('sender_error', ({ sender }) => (result.error = sender.error && sender.error.condition));

function encoded({ messages, properties }) {
  const inner = messages.map(({ body, id, properties: own }) =>
    rhea.message.encode({
      message_id: id,
      application_properties: own,
      body: rhea.message.data_section(Buffer.from(body)),
    })
  );
  return rhea.message.encode({ application_properties: properties, body: rhea.message.data_sections(inner) });
}

function finish() {
  process.stdout.write(JSON.stringify(result) + '\n', () => process.exit(0));
}
