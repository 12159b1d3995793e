// A small client of the API: calls wait for the answer with their id, events update the list.
const at = (id) => document.getElementById(id);
const SHOWN = 12; // messages in the list of what goes over the wire
let socket, last = 0, waiting = new Map();

function wire(arrow, text) {
  const line = document.createElement("li");
  line.textContent = `${arrow} ${text}`;
  at("wire").prepend(line);
  while (at("wire").children.length > SHOWN) at("wire").lastElementChild.remove();
}

function call(method, params = {}) {
  const message = JSON.stringify({ id: ++last, method, params });
  return new Promise((resolve, reject) => {
    if (socket.readyState !== WebSocket.OPEN) return reject(new Error("Not connected."));
    waiting.set(last, { resolve, reject });
    wire("→", message);
    socket.send(message);
  });
}

function show(state, words) {
  at("status").dataset.state = state;
  at("status").textContent = words;
}

function draw(task) {
  let line = document.getElementById(`task-${task.number}`);
  if (!line) {
    line = document.createElement("li");
    line.id = `task-${task.number}`;
    const label = document.createElement("label"), box = document.createElement("input");
    box.type = "checkbox";
    box.addEventListener("change", () => call("finish", { number: task.number }).catch(refused));
    label.append(box, document.createElement("span"));
    label.lastChild.textContent = task.title;
    const remove = document.createElement("button");
    remove.textContent = "Remove";
    remove.addEventListener("click", () => call("remove", { number: task.number }).catch(refused));
    line.append(label, remove);
    at("tasks").append(line);
  }
  const box = line.querySelector("input");
  box.checked = box.disabled = task.done;
}

function refused(error) {
  at("problem").textContent = error.message;
  at("problem").hidden = false;
}

function connect() {
  socket = new WebSocket(location.origin.replace("http", "ws") + "/api");
  socket.onopen = async () => {
    show("open", "Connected");
    at("problem").hidden = true;
    await call("subscribe");
    at("tasks").replaceChildren();
    (await call("list_tasks")).forEach(draw);
  };
  socket.onmessage = ({ data }) => {
    wire("←", data);
    const said = JSON.parse(data);
    if (said.event === "removed") document.getElementById(`task-${said.data.number}`)?.remove();
    else if (said.event) draw(said.data);
    else {
      const { resolve, reject } = waiting.get(said.id) ?? {};
      waiting.delete(said.id);
      if (said.error) reject?.(new Error(said.error.message));
      else resolve?.(said.result);
    }
  };
  socket.onclose = () => {
    show("waiting", "Reconnecting …");
    for (const { reject } of waiting.values()) reject(new Error("The connection was lost. Try again."));
    waiting.clear();
    setTimeout(connect, 1000);
  };
}

at("new").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await call("add", { title: at("title").value });
    at("title").value = "";
    at("problem").hidden = true;
  } catch (error) {
    refused(error);
  }
});
connect();
