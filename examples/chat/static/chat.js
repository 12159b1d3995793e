// The browser's half of the chat. What others wrote reaches the page through `textContent` only,
// so it is text whatever it contains.

const MAX_SHOWN = 500; // entries of the log; older ones go
const FIRST_WAIT = 500; // ms until the first new try after a lost connection ...
const LONGEST_WAIT = 15_000; // ... and at most, as each wait is twice the one before
const NAME_KEY = "asyncflask-chat-name";

const at = (id) => document.getElementById(id);
const log = at("log");
const text = at("text");
const hello = at("hello");

let room = document.body.dataset.room;
let name = remembered();
let you = ""; // the name as the server has it, which is the one above or that with a number
let socket = null;
let failures = 0;
let timer = 0;

// Connection

function connect() {
  clearTimeout(timer);
  if (socket) {
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }
  you = "";
  show("waiting", "Connecting…");
  const address = new URL(`ws/${encodeURIComponent(room)}`, document.baseURI);
  address.protocol = address.protocol.replace("http", "ws");
  socket = new WebSocket(address);
  socket.onopen = () => socket.send(JSON.stringify({ type: "join", name }));
  socket.onmessage = (message) => {
    const event = JSON.parse(message.data);
    handlers[event.type]?.(event);
  };
  socket.onclose = () => {
    you = "";
    fill(at("members"), []);
    count({});
    // Not all at once, please, when a server comes back that many were connected to.
    const wait = Math.min(FIRST_WAIT * 2 ** failures++, LONGEST_WAIT) * (0.5 + Math.random() / 2);
    timer = setTimeout(connect, wait);
    show("lost", "Reconnecting…");
  };
}

const handlers = {
  welcome(event) {
    failures = 0;
    you = event.you;
    fill(log, []); // What was said before comes now, as if it were said again.
    fill(at("me"), [face(you), make("b", "", you), make("small", "", "Rename")]);
    at("status").title = `Served by pid ${event.pid}`;
    at("status").dataset.pid = event.pid;
    show("open", "Connected");
  },
  presence(event) {
    for (const who of event.joined) {
      notice(who === you ? `You are in ${room}, as ${you}` : `${who} joined`);
    }
    for (const who of event.left) notice(`${who} left`);
    members(event.members);
  },
  said,
  counts(event) {
    count(event.counts);
  },
  error(event) {
    if (you) return notice(event.message, "error");
    ask(event.message); // Not in the room yet: it was the name that was refused.
  },
};

function count(people) {
  for (const link of at("rooms").children) {
    const number = link.querySelector(".count");
    number.textContent = people[link.dataset.room] || "";
    number.hidden = !number.textContent;
  }
}

function show(state, words) {
  at("status").dataset.state = state;
  at("status").firstElementChild.textContent = words;
  ready();
}

function ready() {
  const follow = atEnd();
  at("send").disabled = !(you && text.value.trim());
  text.style.height = "auto";
  text.style.height = `${text.scrollHeight}px`; // As tall as its lines; the style sheet has a limit.
  if (follow) log.scrollTop = log.scrollHeight; // There is less room for it now.
}

// Log

function said(event) {
  const mine = event.name === you;
  const last = log.lastElementChild;
  const more = last?.dataset.name === event.name && event.at - last.dataset.at < 300;
  const item = make("li", `said${mine ? " mine" : ""}${more ? " more" : ""}`);
  item.dataset.name = event.name;
  item.dataset.at = event.at;
  item.style.setProperty("--hue", hue(event.name));
  const when = new Date(event.at * 1000);
  const time = make("time", "", when.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
  time.dateTime = when.toISOString();
  const who = make("div", "who");
  who.append(make("b", "", event.name), time);
  item.append(face(event.name), who, make("p", "", event.text));
  append(item, mine);
}

function notice(words, kind = "") {
  append(make("li", `notice ${kind}`, words));
}

function atEnd() {
  return log.scrollHeight - log.scrollTop - log.clientHeight < 60;
}

function append(item, follow = false) {
  follow ||= atEnd();
  log.append(item);
  while (log.children.length > MAX_SHOWN) log.firstElementChild.remove();
  if (follow) log.scrollTop = log.scrollHeight;
  else at("latest").hidden = false;
}

function members(people) {
  const several = new Set(people.map((each) => each.pid)).size > 1;
  people.sort((a, b) => a.name.localeCompare(b.name));
  fill(at("members"), people.map(({ name, pid }) => {
    const item = make("li");
    item.dataset.pid = pid;
    item.append(face(name), make("b", "", name));
    if (name === you) item.append(make("small", "", "you"));
    if (several) item.append(make("small", "pid", `pid ${pid}`));
    return item;
  }));
}

function make(tag, className = "", words = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = words;
  return element;
}

function fill(element, children) {
  element.replaceChildren(...children);
}

function face(who) {
  const element = make("span", "face", [...who][0].toUpperCase());
  element.style.setProperty("--hue", hue(who));
  element.setAttribute("aria-hidden", "true");
  return element;
}

function hue(who) {
  let sum = 0;
  for (const character of who) sum = (sum * 31 + character.codePointAt(0)) % 360;
  return sum;
}

// Name

function remembered() {
  try {
    return localStorage.getItem(NAME_KEY) ?? "";
  } catch {
    return ""; // Storage is off in this browser: ask each time.
  }
}

function ask(refusal = "") {
  menu(false);
  at("refusal").textContent = refusal;
  at("refusal").hidden = !refusal;
  at("name").value = name;
  if (!hello.open) hello.showModal();
  at("name").select();
}

hello.addEventListener("cancel", (event) => {
  if (!you) event.preventDefault(); // Nobody is in here without a name.
});
hello.querySelector("form").addEventListener("submit", () => {
  const chosen = at("name").value.trim();
  if (chosen === name && you) return;
  name = chosen;
  try {
    localStorage.setItem(NAME_KEY, name);
  } catch {
    // As above.
  }
  connect();
  write();
});
at("me").addEventListener("click", () => ask());

// Rooms

function enter(slug) {
  const link = [...at("rooms").children].find((each) => each.dataset.room === slug);
  if (!link || slug === room) return;
  at("rooms").querySelector("[aria-current]")?.removeAttribute("aria-current");
  link.setAttribute("aria-current", "page");
  room = slug;
  failures = 0;
  document.title = document.title.replace(/^\S+/, () => slug);
  at("title").textContent = slug;
  at("about").textContent = link.dataset.about;
  text.placeholder = `Message to ${slug}`;
  fill(log, []);
  fill(at("members"), []);
  at("latest").hidden = true;
  if (name) connect();
}

at("rooms").addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  menu(false);
  if (link.dataset.room !== room) history.pushState(null, "", link.href);
  enter(link.dataset.room);
  write();
});
addEventListener("popstate", () => {
  enter(decodeURIComponent(location.pathname.split("/").pop()));
});

function menu(open) {
  document.body.classList.toggle("menu", open);
  at("menu").setAttribute("aria-expanded", open);
}
at("menu").addEventListener("click", () => menu(true));
at("veil").addEventListener("click", () => menu(false));
addEventListener("keydown", (event) => {
  if (event.key === "Escape") menu(false);
});

// Writing

function write() {
  // On a phone this would bring up the keyboard, over half of the room.
  if (matchMedia("(hover: hover)").matches) text.focus();
}

at("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const words = text.value.trim();
  if (!words || !you || socket.readyState !== WebSocket.OPEN) return;
  socket.send(JSON.stringify({ type: "say", text: words }));
  text.value = "";
  ready();
  text.focus();
});
text.addEventListener("input", ready);
text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  at("composer").requestSubmit();
});
log.addEventListener("scroll", () => {
  if (atEnd()) at("latest").hidden = true;
});
at("latest").addEventListener("click", () => {
  log.scrollTop = log.scrollHeight;
});

// The network is back: no need to wait for the timer, nor for the old connection to be given up.
addEventListener("online", () => {
  if (name) connect();
});

if (name) connect();
else ask();
