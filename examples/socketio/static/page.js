// The browser's half: what others say reaches the page through `textContent`, so it stays text.
const find = (id) => document.getElementById(id);
const name = "Guest " + Math.floor(Math.random() * 1000);
const socket = io();

function show(state, words) {
  find("state").dataset.state = state;
  find("state").textContent = words;
}

socket.on("connect", async () => {
  await socket.emitWithAck("join", name);
  show("open", `You are ${name}`);
});
socket.on("disconnect", () => {
  show("waiting", "Reconnecting …");
  find("here").textContent = "Not connected";
});
socket.on("here", (names) => { find("here").textContent = names.length ? `${names.length} online: ${names.join(", ")}` : "Nobody is online."; });
socket.on("said", ({ name: who, text }) => {
  const item = document.createElement("li");
  item.classList.toggle("mine", who === name);
  const author = document.createElement("b");
  author.textContent = who;
  const words = document.createElement("span");
  words.textContent = text;
  item.append(author, ": ", words);
  find("log").append(item);
  item.scrollIntoView({ block: "nearest" });
});
find("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = find("text").value;
  find("text").value = "";
  try {
    document.body.dataset.acknowledged = await socket.timeout(5000).emitWithAck("say", text);
  } catch {
    find("text").value ||= text; // no acknowledgement: try again
  }
});
