'use strict';
// Microsoft's Node device SDK sends telemetry over AMQP as fast as it may, and says how fast that was.
//
// stdin:  one JSON object {"connection_string", "count", "size", "window"}: at most `window` messages have no outcome.
//         The CA comes in the environment (NODE_EXTRA_CA_CERTS).
// stdout: one JSON object {"count", "seconds", "cpu_us"}, from the first message to the last outcome; the CPU is that of
//         this process. Any outcome but accepted ends it with exit code 1.

const { Client, Message } = require('azure-iot-device');
const { Amqp } = require('azure-iot-device-amqp');

async function main() {
  const job = JSON.parse(require('fs').readFileSync(0, 'utf8'));
  const client = Client.fromConnectionString(job.connection_string, Amqp);
  await client.open();
  const body = 'x'.repeat(job.size);
  const started = process.hrtime.bigint();
  const cpu = process.cpuUsage();
  await new Promise((resolve, reject) => {
    let sent = 0;
    let accepted = 0;
    const next = () => {
      sent++;
      client.sendEvent(new Message(body), (error) => {
        if (error) return reject(error);
        accepted++;
        if (accepted === job.count) return resolve();
        if (sent < job.count) next();
      });
    };
    for (let place = 0; place < Math.min(job.window, job.count); place++) next();
  });
  const used = process.cpuUsage(cpu);
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  process.stdout.write(JSON.stringify({ count: job.count, seconds, cpu_us: used.user + used.system }) + '\n');
  await client.close();
}

main().then(
  () => process.exit(0),
  (error) => {
    process.stderr.write(`${error.stack}\n`);
    process.exit(1);
  },
);
