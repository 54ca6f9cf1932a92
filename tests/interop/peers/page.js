'use strict';
// A browser that looks at the hub's page, as someone would: it waits for the devices, chooses one, reads what it sees.
//
// stdin:  one JSON object {"url", "browser": its program, "profile": a folder of its own, "public_key": the CA's, by its
//         SHA-256, "device": which to choose, "summary": what to wait for, "picture": a file or null}
// stdout: one JSON object {"title", "summary", "devices": [[cells]], "events": [[cells]], "twin", "traffic", "connections", "images": how
//         many, "said": what pages wrote to the console, "asked": the URLs}
// stderr: nothing.

const puppeteer = require('puppeteer-core');

async function main() {
  const job = JSON.parse(require('fs').readFileSync(0, 'utf8'));
  const browser = await puppeteer.launch({
    executablePath: job.browser,
    userDataDir: job.profile,
    // Root has no sandbox, and a container little shared memory.
    args: [
      '--no-sandbox',
      '--disable-dev-shm-usage',
      `--ignore-certificate-errors-spki-list=${job.public_key}`,
    ],
  });
  try {
    return await look(await browser.newPage(), job);
  } finally {
    await browser.close();
  }
}

async function look(page, job) {
  const said = [];
  const asked = new Set();
  page.on('console', (message) => said.push(message.text()));
  page.on('pageerror', (error) => said.push(String(error)));
  page.on('dialog', (dialog) => {
    said.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on('request', (request) => asked.add(request.url()));
  await page.setViewport({ width: 1200, height: 760 });
  await page.goto(job.url);
  const patience = { timeout: 15000 };
  await page.waitForFunction(
    (summary) => document.getElementById('summary').textContent === summary,
    patience,
    job.summary,
  );
  await page.evaluate((device) => {
    [...document.querySelectorAll('#devices button')].find((button) => button.textContent === device).click();
  }, job.device);
  await page.waitForSelector('#twin:not([hidden])', patience);
  const seen = await page.evaluate(() => {
    const text = (id) => document.getElementById(id).textContent;
    const rows = (id) =>
      [...document.querySelectorAll(`#${id} tr`)].map((row) => [...row.cells].map((cell) => cell.textContent));
    return {
      title: document.title,
      summary: text('summary'),
      devices: rows('devices'),
      events: rows('events'),
      twin: text('twin'),
      traffic: text('traffic'),
      connections: text('activity'),
      images: document.images.length,
    };
  });
  if (job.picture) await page.screenshot({ path: job.picture });
  return { ...seen, said, asked: [...asked] };
}

main().then(
  (result) => console.log(JSON.stringify(result)),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
