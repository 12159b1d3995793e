// Real Socket.IO clients against everything.py: node client.cjs <scenario> <url> <transports>
// Exits with 0 if all is as it should be. NODE_PATH names the folder with socket.io-client.
"use strict";
const assert = require("node:assert/strict");
const { once } = require("node:events");
const { io } = require("socket.io-client");

const [, , scenario, url, transports] = process.argv;
const SECONDS = 40;
const open = [];

function client(path = "/", options = {}) {
  const socket = io(url + path, { transports: transports.split(","), forceNew: true, ...options });
  socket.received = [];
  socket.onAny((...event) => socket.received.push(event));
  open.push(socket);
  return socket;
}

async function connected(path, options) {
  const socket = client(path, options);
  await until(() => socket.connected);
  return socket;
}

async function until(condition) {
  const deadline = Date.now() + SECONDS * 1000;
  while (!condition()) {
    assert.ok(Date.now() < deadline, `in vain: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function several(socket, event, ...args) {
  return new Promise((resolve) => socket.emit(event, ...args, (...values) => resolve(values)));
}

async function get(path, headers = {}) {
  const response = await fetch(url + path, { headers });
  assert.equal(response.status, 200);
  return response;
}

const scenarios = {
  async events() {
    const socket = await connected();
    for (const name of ["sync", "async"]) {
      const sent = [1, "two", { three: [3, null, true] }];
      assert.deepEqual(await several(socket, name, ...sent), [name, ...sent]);
      await until(() => socket.received.length);
      assert.deepEqual(socket.received.splice(0), [["answer", ...sent]]);
    }
    socket.emit("unawaited", "a room");
    await until(() => socket.received.length === 3);
    assert.deepEqual(socket.received.map((event) => event[1]), [0, 1, 2]);
    const torn = await (await get("/teardowns")).json();
    assert.deepEqual(torn.sort(), ["async", "sync"]);
  },

  async acknowledgements_to_the_server() {
    const socket = await connected();
    socket.on("question", (question, answer) => answer(`${question}!`, 42));
    for (const name of ["ask_sync", "ask_async"]) {
      assert.equal(await socket.emitWithAck(name, "what"), "what!");
    }
    socket.emit("ask_with_callback", "why");
    await until(() => socket.received.some(([name]) => name === "answered"));
    const [, answered] = socket.received.find(([name]) => name === "answered");
    assert.deepEqual(answered, [["why!", 42], true, "everything"]);
  },

  async binary() {
    const socket = await connected();
    const bytes = Buffer.from([0, 1, 2, 254, 255]);
    for (const name of ["sync", "async"]) {
      const [, value] = await several(socket, name, { bytes, text: "ä" });
      assert.ok(bytes.equals(value.bytes) && value.text === "ä");
      await until(() => socket.received.length);
      const [[, event]] = socket.received.splice(0);
      assert.ok(bytes.equals(event.bytes) && event.text === "ä");
    }
  },

  async rooms() {
    const [ada, bob, eve] = await Promise.all([connected(), connected(), connected()]);
    assert.deepEqual(await ada.emitWithAck("enter", "tea"), ["tea"]);
    assert.deepEqual(await bob.emitWithAck("enter", "tea"), ["tea"]);
    ada.emit("say", "tea", "one");
    ada.emit("say to the others", "tea", "two");
    await until(() => bob.received.length === 2);
    assert.deepEqual(bob.received.map((event) => event[1]).sort(), ["one", "two"]);
    assert.deepEqual(await bob.emitWithAck("leave", "tea"), []);
    await ada.emitWithAck("say", "tea", "three");
    await ada.emitWithAck("close the room", "tea");
    await ada.emitWithAck("say", "tea", "four");
    ada.emit("all", "end");
    await Promise.all([ada, bob, eve].map((socket) =>
      until(() => socket.received.some((event) => event[1] === "end"))));
    assert.deepEqual(ada.received.map((event) => event[1]), ["one", "three", "end"]);
    assert.deepEqual(bob.received.slice(2), [["news", "end"]]);
    assert.deepEqual(eve.received, [["news", "end"]]);
  },

  async views_and_tasks() {
    const socket = await connected();
    await get("/news/sync/a");
    await get("/news/async/b");
    await until(() => socket.received.length === 2);
    socket.emit("task");
    await until(() => socket.received.length === 4);
    assert.deepEqual(socket.received.map((event) => event[1]).sort(),
      ["a", "b", "from a task", "from a thread"]);
  },

  async namespaces() {
    const room = await connected("/room");
    await until(() => room.received.length);
    assert.deepEqual(room.received, [["welcome", { path: "/socket.io/" }]]);
    assert.equal(await room.emitWithAck("double", 21), 42);
    assert.equal(await room.emitWithAck("broken"), "error: nothing here");
    const other = client("/nowhere");
    await once(other, "connect_error");
    // Both over one connection.
    const root = room.io.socket("/");
    open.push(root);
    await until(() => root.connected);
    assert.deepEqual(await several(root, "sync", 1), ["sync", 1]);
  },

  async refused() {
    const refusals = [
      [{ token: "wrong" }, "Who are you?", { hint: "a token" }],
      [{ token: "broken" }, "Internal Server Error", undefined],
    ];
    for (const [auth, message, data] of refusals) {
      const socket = client("/", { auth });
      const [error] = await once(socket, "connect_error");
      assert.equal(error.message, message);
      assert.deepEqual(error.data, data);
      assert.ok(!socket.connected);
    }
    const accepted = await connected("/", { auth: { token: "right" } });
    assert.ok(accepted.connected);
  },

  async own_session() {
    const cookie = (name) => get(`/login/${name}`).then((response) =>
      response.headers.get("set-cookie").split(";")[0]);
    const names = ["ada", "bob", "eve", "zoe"];
    const sockets = await Promise.all(names.map(async (name) => connected("/", {
      extraHeaders: { cookie: await cookie(name) }, query: { name },
    })));
    await Promise.all(sockets.map(async (socket, index) => {
      for (let number = 0; number < 10; number++) {
        await socket.emitWithAck("remember", "number", `${names[index]} ${number}`);
        const found = await socket.emitWithAck("recall");
        assert.equal(found.user, names[index]);
        assert.equal(found.args.name, names[index]);
        assert.equal(found.number, `${names[index]} ${number}`);
        assert.equal(found.sid, socket.id);
        assert.equal(found.is, true);
      }
    }));
  },

  async errors() {
    const socket = await connected();
    for (const name of ["fail", "cannot be sent"]) {
      await assert.rejects(socket.timeout(500).emitWithAck(name), /has timed out/);
    }
    assert.deepEqual(await several(socket, "sync"), ["sync"]);
  },

  async disconnected_by_the_server() {
    const socket = await connected();
    socket.emit("leave me");
    const [reason] = await once(socket, "disconnect");
    assert.equal(reason, "io server disconnect");
  },

  // The test restarts the server when it reads "ready".
  async reconnects() {
    const socket = await connected("/", { reconnectionDelay: 100, reconnectionDelayMax: 500, timeout: 3000 });
    const before = socket.id;
    const reasons = [];
    socket.on("disconnect", (reason) => reasons.push(reason));
    console.log("ready");
    await until(() => reasons.length);
    assert.ok(["transport close", "transport error"].includes(reasons[0]), reasons[0]);
    await until(() => socket.connected);
    assert.notEqual(socket.id, before);
    assert.deepEqual(await several(socket, "sync", 1), ["sync", 1]);
  },
};

scenarios[scenario]().then(
  () => open.forEach((socket) => socket.disconnect()),
  (error) => {
    console.error(error, open.map((socket) => socket.received));
    process.exit(1);
  },
);
