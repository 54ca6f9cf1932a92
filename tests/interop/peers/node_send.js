'use strict';
// Microsoft's Node device SDK sends telemetry over AMQP, and says what became of it.
//
// stdin:  one JSON object {"connection_string", "messages": [{"body", "message_id", "properties": {}}], "copies": 1}
//         Each message is sent `copies` times, a second copy with the number appended to body and message-id. The
//         CA comes in the environment (NODE_EXTRA_CA_CERTS), as the SDK's users hand it over.
// stdout: one JSON object
//         {"outcome": "accepted" | "failed", "accepted": how many, "error": the error's class, "description"}
// stderr: every frame, with DEBUG=rhea:frames in the environment.

const { Client, Message } = require('azure-iot-device');
const { Amqp } = require('azure-iot-device-amqp');

async function main() {
  const job = JSON.parse(require('fs').readFileSync(0, 'utf8'));
  const result = { outcome: 'failed', accepted: 0, error: null, description: null };
  const client = Client.fromConnectionString(job.connection_string, Amqp);
  // By default it tries for four minutes; a refusal is what it is.
  client.on('error', () => {});
  try {
    await client.open();
    const sends = [];
    for (let copy = 0; copy < (job.copies || 1); copy++) {
      for (const wanted of job.messages) {
        sends.push(client.sendEvent(messageOf(wanted, copy)).then(() => result.accepted++));
      }
    }
    await Promise.all(sends);
    result.outcome = 'accepted';
  } catch (error) {
    result.error = error.name;
    result.description = error.message;
  }
  try {
    await client.close();
  } catch (error) {
    result.error = result.error || error.name;
  }
  return result;
}

function messageOf(wanted, copy) {
  const message = new Message(copy ? `${wanted.body} ${copy}` : wanted.body);
  message.messageId = copy ? `${wanted.message_id}-${copy}` : wanted.message_id;
  for (const [key, value] of Object.entries(wanted.properties || {})) {
    message.properties.add(key, value);
  }
  return message;
}

main().then((result) => process.stdout.write(JSON.stringify(result) + '\n'));
