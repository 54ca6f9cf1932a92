'use strict';
// Microsoft's Node service SDK over HTTPS, doing what a case tells it and saying what came of it.
//
// stdin:  one JSON object a line. The first is {"connection_string"} or {"token"}, a signature for the registry alone.
//         Each other is an order: {"do": …} with what the functions below take. The end of stdin closes.
// stdout: for each order, when it is done, {"did": …, "error": null, "result"} or
//         {"did": …, "error": the error's class, "description", "status", "body"}.
//
// The CA comes in the environment (NODE_EXTRA_CA_CERTS), as the SDK's users hand it over.

const { Registry, Client, JobClient, DigitalTwinClient, IoTHubTokenCredentials } = require('azure-iothub');
const { IotHubGatewayServiceAPIs } = require('azure-iothub/dist/pl/iotHubGatewayServiceAPIs');

const made = {};
const twins = {};

function make({ connection_string, token }) {
  if (token) {
    made.registry = Registry.fromSharedAccessSignature(token);
    return;
  }
  made.registry = Registry.fromConnectionString(connection_string);
  made.jobs = JobClient.fromConnectionString(connection_string);
  made.client = Client.fromConnectionString(connection_string);
  const credentials = new IoTHubTokenCredentials(connection_string);
  made.digital = new DigitalTwinClient(credentials);
  // The part of the SDK that is generated from the service's own description.
  made.generated = new IotHubGatewayServiceAPIs(credentials, {
    baseUri: `https://${credentials.getHubName()}`,
    apiVersion: '2021-04-12',
  });
}

const orders = {
  // A method of one of those above, by its name: {"on": "registry", "name": "get", "args": ["dev"]}.
  async call({ on, name, args }) {
    const path = name.split('.');
    const method = path.pop();
    const of = path.reduce((at, part) => at[part], made[on]);
    return plain(await of[method](...(args || []).map(dated)));
  },

  // All rows, and how many each page has.
  async query({ sql, size, as }) {
    const query = made.registry.createQuery(sql, size);
    return paged(query, as === 'twin' ? 'nextAsTwin' : 'next');
  },

  async jobs({ type, status, size }) {
    return paged(made.jobs.createQuery(type, status, size), 'next');
  },

  // A twin that is held from now on, and what is done with it.
  async twin({ device, module }) {
    const found = module
      ? await made.registry.getModuleTwin(device, module)
      : await made.registry.getTwin(device);
    const twin = found.responseBody;
    twins[device] = twin;
    return twin.toJSON();
  },

  async update_twin({ device, patch, etag }) {
    if (etag) {
      twins[device].etag = etag;
    }
    const { responseBody, ...rest } = await twins[device].update(patch);
    return (responseBody || rest.twin || twins[device]).toJSON();
  },
};

async function paged(query, next) {
  const rows = [];
  const pages = [];
  while (query.hasMoreResults) {
    // Without it `next` begins anew, and only `nextAsTwin` knows where it was.
    const page = plain(await query[next](query.continuationToken));
    rows.push(...page.map((row) => (row.toJSON ? row.toJSON() : row)));
    pages.push(page.length);
  }
  return { rows, pages };
}

// Times as texts, since JSON has none of them.
function dated(argument) {
  return argument && argument.date ? new Date(argument.date) : argument;
}

// What the SDK calls by many names: the body of the answer.
function plain(result) {
  if (!result || typeof result !== 'object') {
    return result;
  }
  for (const name of ['responseBody', 'jobStatus', 'result', 'device']) {
    if (result[name] !== undefined && (result.httpResponse || result.response || result.message)) {
      return result[name];
    }
  }
  if (result._response) {
    const { _response, ...rest } = result;
    const status = _response.status;
    return { status, body: _response.parsedBody === undefined ? rest : _response.parsedBody };
  }
  return result;
}

function say(fact) {
  const seen = new WeakSet();
  const once = (key, value) => {
    // What is held twice, or is of the SDK's own machinery, is nobody's result.
    if (value && typeof value === 'object') {
      if (seen.has(value) || key.startsWith('_')) return undefined;
      seen.add(value);
    }
    return value;
  };
  process.stdout.write(JSON.stringify(fact, once) + '\n');
}

async function obey(order) {
  const did = order.do || 'make';
  try {
    const result = order.do === undefined ? make(order) : await orders[order.do](order);
    say({ did, error: null, result: result === undefined ? null : result });
  } catch (error) {
    const status = error.statusCode || (error.response && error.response.statusCode);
    const body = error.responseBody || (error.response && error.response.bodyAsText);
    say({ did, error: error.name, description: error.message, status, body });
  }
}

let before = Promise.resolve();
const lines = require('readline').createInterface({ input: process.stdin });
lines.on('line', (line) => {
  before = before.then(() => obey(JSON.parse(line)));
});
lines.on('close', () => before.then(() => process.exit(0)));
