const { Client, Message } = require('azure-iot-device');
const { Amqp } = require('azure-iot-device-amqp');

async function main() {
  const client = Client.fromConnectionString(process.env.IOTHUB_DEVICE_CONNECTION_STRING, Amqp);
  await client.open();
  await client.sendEvent(new Message('Hello from Node')); // returns when the hub has it
  const twin = await client.getTwin();
  console.log('desired:', JSON.stringify(twin.properties.desired));
  await client.close();
}

main();
