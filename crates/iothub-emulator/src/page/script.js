// Asks the hub each second what there is, and shows it. All that comes is shown as text, never as markup.
"use strict";

const EVERY_MS = 1000;
let chosen = null;

const at = (id) => document.getElementById(id);

function cell(text, name) {
  const made = document.createElement("td");
  if (name) made.className = name;
  made.textContent = text;
  return made;
}

function timeCell(text) {
  const made = document.createElement("td");
  if (text) {
    const time = document.createElement("time");
    time.dateTime = text;
    // The day stands in the title: what happens here happens today.
    time.title = text;
    time.textContent = text.slice(11, 19);
    made.append(time);
  } else {
    made.textContent = "never";
  }
  return made;
}

function row(...cells) {
  const made = document.createElement("tr");
  made.append(...cells);
  return made;
}

function deviceRow(device) {
  const choose = document.createElement("button");
  choose.type = "button";
  choose.textContent = device.id;
  choose.setAttribute("aria-pressed", String(device.id === chosen));
  choose.addEventListener("click", () => {
    chosen = device.id;
    refresh();
  });
  const name = document.createElement("td");
  name.append(choose);
  const state = device.status === "disabled" ? "disabled" : device.connected ? "connected" : "disconnected";
  return row(
    name,
    cell(state, state),
    timeCell(device.since),
    timeCell(device.active),
    cell(device.authentication),
    cell(String(device.waiting), "number"),
  );
}

function eventRow(event) {
  const properties = Object.entries(event.properties).map(([name, value]) => `${name}=${value}`);
  return row(
    timeCell(event.enqueued),
    cell(event.module ? `${event.device}/${event.module}` : event.device),
    cell(String(event.partition), "number"),
    cell(String(event.number), "number"),
    cell(properties.join(", ")),
    cell(event.body, "body"),
  );
}

function activityItem(entry) {
  const made = document.createElement("li");
  made.textContent = `${entry.time.slice(11, 19)}  #${entry.connection} ${entry.what}`;
  return made;
}

function trafficItem(entry) {
  const made = document.createElement("li");
  made.textContent = `${entry.time.slice(11, 19)}  ${entry.whose} ${entry.what}`;
  return made;
}

function show(view) {
  at("hub").textContent = view.hub;
  document.title = `${view.hub}: IoT Hub emulator`;
  const { count, connected, shown } = view.devices;
  at("summary").textContent = `${connected} of ${count} devices connected.`;
  at("devices").replaceChildren(...shown.map(deviceRow));
  at("more").hidden = shown.length >= count;
  at("more").textContent = `and ${count - shown.length} more`;
  at("events").replaceChildren(...view.events.map(eventRow));
  at("traffic").replaceChildren(...view.traffic.map(trafficItem));
  at("activity").replaceChildren(...view.activity.map(activityItem));
}

function showTwin(twin) {
  at("twin-title").textContent = `Twin of ${chosen}`;
  at("twin-hint").hidden = twin !== null;
  at("twin-hint").textContent = "It is gone.";
  at("twin").hidden = twin === null;
  at("twin").textContent = twin === null ? "" : JSON.stringify(twin, null, 2);
}

async function read(path) {
  const answer = await fetch(path);
  if (!answer.ok && answer.status !== 404) throw new Error(`the hub answered ${answer.status}`);
  return answer.ok ? answer.json() : null;
}

async function refresh() {
  const state = at("state");
  try {
    show(await read("/page/view"));
    if (chosen !== null) showTwin(await read(`/page/twin?device=${encodeURIComponent(chosen)}`));
    state.textContent = "";
    state.className = "";
  } catch (error) {
    state.textContent = `Not up to date: ${error.message}.`;
    state.className = "old";
  }
}

async function run() {
  if (!document.hidden) await refresh();
  setTimeout(run, EVERY_MS);
}

run();
